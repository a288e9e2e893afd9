package framework

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/framework/internal/webxml"
)

// changed applies changes to a descriptor of an app with the named files in WEB-INF.
func changed(t *testing.T, source string, change func(descriptor) error, files ...string) string {
	t.Helper()
	doc, err := webxml.Parse([]byte(source))
	require.NoError(t, err)
	has := func(name string) bool {
		for _, file := range files {
			if file == name {
				return true
			}
		}
		return false
	}
	require.NoError(t, change(descriptor{doc, has}))
	return string(doc.Bytes())
}

func springChanges(d descriptor) error {
	d.contextParam()
	d.contextInitializer()
	d.dispatchers(springDispatcher)
	return nil
}

// compact puts a descriptor into one line, so that a table can hold it.
func compact(source string) string {
	for _, space := range []string{"\n", "\t", "  "} {
		source = strings.ReplaceAll(source, space, "")
	}
	short := strings.NewReplacer(
		contextXML, "{XML}", contextAnnotation, "{ANNOTATION}", initializer, "{INIT}", annotationClass, "{CLASS}", springDispatcher, "{SPRING}",
		"<param-name>", "", "</param-name><param-value>", "=", "</param-value>", "",
	)
	return short.Replace(source)
}

// p and s are parts of descriptors.
func p(kind, name, value string) string {
	return fmt.Sprintf("<%s><param-name>%s</param-name><param-value>%s</param-value></%s>", kind, name, value, kind)
}

func s(name, class, more string) string {
	return fmt.Sprintf("<servlet><servlet-name>%s</servlet-name><servlet-class>%s</servlet-class>%s</servlet>", name, class, more)
}

func TestSpringDescriptor(t *testing.T) {
	const init = "<context-param>contextInitializerClasses={INIT}</context-param>"
	servlet := func(more string) string {
		return "<servlet><servlet-name>s</servlet-name><servlet-class>{SPRING}</servlet-class>" + more + "</servlet>"
	}
	for name, test := range map[string]struct {
		in    string
		files []string
		want  string
	}{
		"nothing":                {"", nil, init},
		"default context":        {"", []string{"applicationContext.xml"}, "<context-param>contextConfigLocation=/WEB-INF/applicationContext.xml {XML}</context-param>" + init},
		"context":                {p("context-param", contextLocation, "a.xml"), nil, "<context-param>contextConfigLocation=a.xml {XML}</context-param>" + init},
		"several contexts":       {p("context-param", " contextConfigLocation ", "a.xml, b.xml "), nil, "<context-param> contextConfigLocation =a.xml, b.xml {XML} </context-param>" + init},
		"empty context":          {p("context-param", contextLocation, ""), []string{"applicationContext.xml"}, "<context-param>contextConfigLocation=</context-param>" + init},
		"context is there":       {p("context-param", contextLocation, "a.xml "+contextXML), nil, "<context-param>contextConfigLocation=a.xml {XML}</context-param>" + init},
		"other parameter":        {p("context-param", "foo", "bar"), []string{"applicationContext.xml"}, "<context-param>foo=bar</context-param><context-param>contextConfigLocation=/WEB-INF/applicationContext.xml {XML}</context-param>" + init},
		"annotations":            {p("context-param", "contextClass", annotationClass) + p("context-param", contextLocation, "com.example.C"), nil, "<context-param>contextClass={CLASS}</context-param><context-param>contextConfigLocation=com.example.C {ANNOTATION}</context-param>" + init},
		"initializer":            {p("context-param", initializers, "com.example.I"), nil, "<context-param>contextInitializerClasses=com.example.I, {INIT}</context-param>"},
		"initializer is there":   {p("context-param", initializers, "com.example.I,"+initializer), nil, "<context-param>contextInitializerClasses=com.example.I,{INIT}</context-param>"},
		"empty initializer":      {p("context-param", initializers, ""), nil, "<context-param>contextInitializerClasses={INIT}</context-param>"},
		"servlet":                {s("s", springDispatcher, ""), nil, init + servlet("<init-param>contextConfigLocation={XML}</init-param>")},
		"servlet with default":   {s("s", springDispatcher, ""), []string{"s-servlet.xml"}, init + servlet("<init-param>contextConfigLocation=/WEB-INF/s-servlet.xml {XML}</init-param>")},
		"servlet with context":   {s("s", springDispatcher, p("init-param", contextLocation, "a.xml")), nil, init + servlet("<init-param>contextConfigLocation=a.xml {XML}</init-param>")},
		"servlet with parameter": {s("s", springDispatcher, p("init-param", "foo", "bar")+"<load-on-startup>1</load-on-startup>"), nil, init + servlet("<init-param>foo=bar</init-param><init-param>contextConfigLocation={XML}</init-param><load-on-startup>1</load-on-startup>")},
		"servlet with annotations": {
			s("s", springDispatcher, p("init-param", "contextClass", annotationClass)+p("init-param", contextLocation, "C")), nil,
			init + servlet("<init-param>contextClass={CLASS}</init-param><init-param>contextConfigLocation=C {ANNOTATION}</init-param>"),
		},
		"other servlet": {s("s", "com.example.S", ""), nil, init + "<servlet><servlet-name>s</servlet-name><servlet-class>com.example.S</servlet-class></servlet>"},
		"two servlets": {
			s("s", springDispatcher, "") + s("s", springDispatcher, ""), nil,
			init + strings.Repeat(servlet("<init-param>contextConfigLocation={XML}</init-param>"), 2),
		},
	} {
		t.Run(name, func(t *testing.T) {
			once := changed(t, "<web-app>"+test.in+"</web-app>", springChanges, test.files...)
			assert.Equal(t, "<web-app>"+test.want+"</web-app>", compact(once))
			assert.Equal(t, once, changed(t, once, springChanges, test.files...), "a second time changes nothing")
		})
	}
}

func TestDescriptorWithPrefix(t *testing.T) {
	in := `<j:web-app xmlns:j="http://java.sun.com/xml/ns/javaee"><j:servlet><j:servlet-name>s</j:servlet-name>` +
		`<j:servlet-class>` + springDispatcher + `</j:servlet-class></j:servlet></j:web-app>`
	out := changed(t, in, springChanges, "applicationContext.xml")
	assert.Equal(t, 6, strings.Count(out, "<j:param-name>")+strings.Count(out, "<j:param-value>"))
	assert.NotContains(t, out, "<param")
	assert.Equal(t, out, changed(t, out, springChanges, "applicationContext.xml"))
}

// What describes the app stands before its parameters in version 2.3, whose elements have an order.
func TestPlaceOfParameters(t *testing.T) {
	out := changed(t, "<web-app><display-name>x</display-name><filter/><listener/></web-app>", springChanges)
	assert.Regexp(t, `(?s)</display-name><context-param>.*</context-param>\s*<filter/>`, out)
	out = changed(t, "<web-app><display-name>x</display-name></web-app>", springChanges)
	assert.Regexp(t, `(?s)</display-name>\s*<context-param>.*</context-param></web-app>`, out)
}

func TestLiftDescriptor(t *testing.T) {
	const filter = "<filter><filter-name>L</filter-name><filter-class>net.liftweb.http.LiftFilter</filter-class></filter>"
	const listener = "<listener><listener-class>org.cloudfoundry.reconfiguration.CloudLiftServicesPropertiesGenerator</listener-class></listener>"
	for in, want := range map[string]string{
		filter:                               listener + filter,
		"<filter/>" + filter:                 "<filter/>" + listener + filter,
		filter + "<servlet/>":                filter + listener + "<servlet/>",
		filter + "<servlet/>" + "<servlet/>": filter + listener + "<servlet/><servlet/>",
	} {
		once := changed(t, "<web-app>"+in+"</web-app>", descriptor.liftListener)
		assert.Equal(t, "<web-app>"+want+"</web-app>", compact(once))
		assert.Equal(t, once, changed(t, once, descriptor.liftListener), "a second time changes nothing")
	}
	doc, err := webxml.Parse([]byte("<web-app><filter><filter-class>x</filter-class></filter></web-app>"))
	require.NoError(t, err)
	var wrong *AppError
	require.ErrorAs(t, descriptor{doc, nil}.liftListener(), &wrong)
}
