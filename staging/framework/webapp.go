package framework

import (
	"slices"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/webxml"
)

// What the library for auto-reconfiguration is called in deployment descriptors.
const (
	contextLocation   = "contextConfigLocation"
	contextXML        = "classpath:META-INF/cloud/cloudfoundry-auto-reconfiguration-context.xml"
	contextAnnotation = "org.cloudfoundry.reconfiguration.spring.web.CloudAppAnnotationConfigAutoReconfig"
	annotationClass   = "org.springframework.web.context.support.AnnotationConfigWebApplicationContext"

	initializers = "contextInitializerClasses"
	initializer  = "org.cloudfoundry.reconfiguration.spring.CloudApplicationContextInitializer"

	liftFilter   = "net.liftweb.http.LiftFilter"
	liftListener = "org.cloudfoundry.reconfiguration.CloudLiftServicesPropertiesGenerator"
)

// A descriptor is the web.xml of an app.
type descriptor struct {
	*webxml.Document
	// has tells whether there is a file in WEB-INF.
	has func(name string) bool
}

// param finds the parameter of a name among the context-param or init-param elements of an element.
func param(of *webxml.Element, kind string, named func(string) bool) *webxml.Element {
	for _, p := range of.All(kind) {
		if named(p.Child("param-name")) {
			return p
		}
	}
	return nil
}

func contains(part string) func(string) bool {
	return func(name string) bool { return strings.Contains(name, part) }
}

func newParam(kind, name, value string) webxml.Node {
	return webxml.Node{Name: kind, Children: []webxml.Node{{Name: "param-name", Text: name}, {Name: "param-value", Text: value}}}
}

// location is what is added to a list of contexts: for contexts that are classes, another one.
func location(of *webxml.Element, kind string) string {
	if class := param(of, kind, contains("contextClass")); class != nil && class.Child("param-value") == annotationClass {
		return contextAnnotation
	}
	return contextXML
}

// extend adds a location to those of a parameter, unless there are none or it is there already.
func (d descriptor) extend(p *webxml.Element, location string) {
	value := p.First("param-value")
	if value == nil || value.Text() == "" || slices.Contains(strings.Fields(value.Text()), location) {
		return
	}
	d.AppendText(value, " "+location)
}

// contextParam adds the context of the library to those of the app, as the root context: where the descriptor names none, to the
// default one if there is such a file. Without any, there is nothing to add it to.
func (d descriptor) contextParam() {
	location := location(d.Root, "context-param")
	if p := param(d.Root, "context-param", contains(contextLocation)); p != nil {
		d.extend(p, location)
	} else if d.has("applicationContext.xml") {
		d.addContextParam(newParam("context-param", contextLocation, "/WEB-INF/applicationContext.xml "+location))
	}
}

// addContextParam puts a parameter behind the others, else where a descriptor of version 2.3 has to have them: before all that
// is no description.
func (d descriptor) addContextParam(p webxml.Node) {
	if all := d.Root.All("context-param"); len(all) > 0 {
		d.InsertAfter(all[len(all)-1], p)
		return
	}
	for _, e := range d.Root.Children {
		if !slices.Contains([]string{"icon", "display-name", "description", "distributable", "module-name"}, e.Name) {
			d.InsertBefore(e, p)
			return
		}
	}
	d.Append(d.Root, p)
}

// contextInitializer adds a class to the initializers of contexts.
func (d descriptor) contextInitializer() {
	p := param(d.Root, "context-param", func(name string) bool { return name == initializers })
	switch {
	case p == nil:
		d.addContextParam(newParam("context-param", initializers, initializer))
	case p.First("param-value") == nil:
		d.Append(p, webxml.Node{Name: "param-value", Text: initializer})
	default:
		value := p.First("param-value")
		there := strings.FieldsFunc(value.Text(), func(r rune) bool { return strings.ContainsRune(",; ", r) })
		if len(there) == 0 {
			d.AppendText(value, initializer)
		} else if !slices.Contains(there, initializer) {
			d.AppendText(value, ", "+initializer)
		}
	}
}

// dispatchers adds the context of the library to those of each servlet of a class. Where a servlet names none, that is its
// default one, and the library's alone if there is no such file.
func (d descriptor) dispatchers(class string) {
	for _, servlet := range d.Root.All("servlet") {
		if !strings.Contains(servlet.Child("servlet-class"), class) {
			continue
		}
		location := location(servlet, "init-param")
		if p := param(servlet, "init-param", contains(contextLocation)); p != nil {
			d.extend(p, location)
			continue
		}
		if file := servlet.Child("servlet-name") + "-servlet.xml"; d.has(file) {
			location = "/WEB-INF/" + file + " " + location
		}
		d.addInitParam(servlet, newParam("init-param", contextLocation, location))
	}
}

func (d descriptor) addInitParam(servlet *webxml.Element, p webxml.Node) {
	after := servlet.First("servlet-class")
	if all := servlet.All("init-param"); len(all) > 0 {
		after = all[len(all)-1]
	}
	d.InsertAfter(after, p)
}

// liftListener puts a listener before the first servlet or, without any, before Lift's filter. It fails without that filter.
func (d descriptor) liftListener() error {
	var filter *webxml.Element
	for _, f := range d.Root.All("filter") {
		if filter == nil && strings.Contains(f.Child("filter-class"), liftFilter) {
			filter = f
		}
	}
	if filter == nil {
		return wrong("Scala / Lift application staging failed: no LiftFilter class found in web.xml")
	}
	for _, l := range d.Root.All("listener") {
		if l.Child("listener-class") == liftListener {
			return nil
		}
	}
	if servlet := d.Root.First("servlet"); servlet != nil {
		filter = servlet
	}
	d.InsertBefore(filter, webxml.Node{Name: "listener", Children: []webxml.Node{{Name: "listener-class", Text: liftListener}}})
	return nil
}
