package framework

import (
	"errors"
	"fmt"

	"github.com/deakit/deakit/staging/framework/internal/loose"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// ErrProperties: what a request or a configuration tells of an app lacks something, or is of the wrong type.
var ErrProperties = errors.New("bad properties of the app")

// Properties are what the Cloud Controller tells the stager of an app: "properties" in a request, "environment" in the
// configuration file of a plugin. They hold credentials of services: they are not for logs.
type Properties struct {
	Name        string // of the app; mostly empty
	Framework   string // "sinatra"
	Detection   Rules  // of the framework; empty where the request has none
	Runtime     runtimes.Runtime
	Services    []Service
	Resources   Resources
	Environment []string // of the app, in the form NAME=value
	Command     string   // to start it, from the user (meta.command)
	Buildpack   string   // URL of a buildpack
}

// Resources are what an app may use.
type Resources struct {
	MemoryMB int // 0 means that nobody told: 512 then
	DiskMB   int
	FDs      int // open files
}

// A Service is bound to the app. All of it may be missing.
type Service struct {
	Label string // "mysql-5.1"
	Name  string
	// Credentials are nil where the binding has none.
	Credentials *Credentials
}

// Credentials are what of a service's credentials goes into configuration files.
type Credentials struct {
	Hostname, Port, User, Password, Name string // Name is that of the database
}

// ParseProperties reads properties from JSON or YAML. Required are the name of a framework (framework_info.name, or
// framework), a runtime (runtime_info, or its name in runtime), and resources with the integers memory, disk and fds.
// What else is there may be absent, null, or unknown. It fails with ErrProperties, which names the key.
func ParseProperties(data []byte) (Properties, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return Properties{}, fmt.Errorf("%w: %w", ErrProperties, err)
	}
	return decodeProperties(v)
}

func decodeProperties(v loose.Value) (Properties, error) {
	if v.Kind() != loose.Map {
		return Properties{}, fmt.Errorf("%w: they are missing, or no map", ErrProperties)
	}
	p := Properties{
		Name: v.Get("name").Text(), Command: v.Get("meta").Get("command").Text(), Buildpack: v.Get("buildpack").Text(),
		Services: decodeServices(v.Get("services")), Environment: decodeEnvironment(v.Get("environment")),
	}
	info := v.Get("framework_info")
	if p.Framework = info.Get("name").Text(); p.Framework == "" {
		p.Framework = v.Get("framework").Text()
	}
	if p.Framework == "" {
		return Properties{}, fmt.Errorf("%w: framework_info.name is missing", ErrProperties)
	}
	var err error
	if p.Detection, err = decodeRules(info.Get("detection")); err != nil {
		return Properties{}, fmt.Errorf("%w: framework_info: %w", ErrProperties, err)
	}
	switch runtime := v.Get("runtime_info"); {
	case runtime.Kind() == loose.Map:
		p.Runtime = runtimes.Decode(runtime)
	case v.Get("runtime").Text() == "":
		return Properties{}, fmt.Errorf("%w: runtime_info is missing", ErrProperties)
	}
	if p.Runtime.Name == "" {
		p.Runtime.Name = v.Get("runtime").Text()
	}
	if k := v.Get("services").Kind(); k != loose.List && k != loose.Null {
		return Properties{}, fmt.Errorf("%w: services is no list", ErrProperties)
	}
	p.Resources, err = decodeResources(v.Get("resources"))
	return p, err
}

func decodeResources(v loose.Value) (Resources, error) {
	var r Resources
	for _, field := range []struct {
		key  string
		into *int
	}{{"memory", &r.MemoryMB}, {"disk", &r.DiskMB}, {"fds", &r.FDs}} {
		value := v.Get(field.key)
		n, ok := value.Int()
		if !ok || value.Kind() != loose.Number || n < 0 {
			return Resources{}, fmt.Errorf("%w: resources.%s is missing, or no integer", ErrProperties, field.key)
		}
		*field.into = n
	}
	return r, nil
}

func decodeServices(v loose.Value) []Service {
	var all []Service
	for _, item := range v.Items() {
		s := Service{Label: item.Get("label").Text(), Name: item.Get("name").Text()}
		if c := item.Get("credentials"); c.Kind() == loose.Map {
			s.Credentials = &Credentials{
				Hostname: c.Get("hostname").Text(), Port: c.Get("port").Text(), User: c.Get("user").Text(),
				Password: c.Get("password").Text(), Name: c.Get("name").Text(),
			}
		}
		all = append(all, s)
	}
	return all
}

// decodeEnvironment takes a list of NAME=value, or the map that the Cloud Controller sent for some weeks of 2012.
func decodeEnvironment(v loose.Value) []string {
	var all []string
	for _, item := range v.Items() {
		all = append(all, item.Text())
	}
	for name, value := range v.Pairs() {
		all = append(all, name+"="+value.Text())
	}
	return all
}
