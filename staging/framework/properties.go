package framework

import (
	"errors"
	"fmt"
	"strings"

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
// What else is there may be absent, null, or unknown. It fails with ErrProperties, which names the keys.
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
	wrong := missing(v, p.Framework)
	var err error
	if p.Detection, err = decodeRules(info.Get("detection")); err != nil {
		wrong = append(wrong, fmt.Sprintf("framework_info: %v", err))
	}
	if runtime := v.Get("runtime_info"); runtime.Kind() == loose.Map {
		p.Runtime = runtimes.Decode(runtime)
	}
	if p.Runtime.Name == "" {
		p.Runtime.Name = v.Get("runtime").Text()
	}
	if len(wrong) > 0 {
		return Properties{}, fmt.Errorf("%w: %s", ErrProperties, strings.Join(wrong, "; "))
	}
	p.Resources = decodeResources(v.Get("resources"))
	return p, nil
}

// missing tells of all that is required, and is not there or of the wrong type.
func missing(v loose.Value, framework string) []string {
	var all []string
	if framework == "" {
		all = append(all, "framework_info.name is missing (or framework)")
	}
	if v.Get("runtime_info").Kind() != loose.Map && v.Get("runtime").Text() == "" {
		all = append(all, "runtime_info is missing (or runtime, its name)")
	}
	if k := v.Get("services").Kind(); k != loose.List && k != loose.Null {
		all = append(all, "services is no list")
	}
	for _, key := range []string{"memory", "disk", "fds"} {
		value := v.Get("resources").Get(key)
		if n, ok := value.Int(); !ok || value.Kind() != loose.Number || n < 0 {
			all = append(all, "resources."+key+" is missing, or no integer")
		}
	}
	return all
}

// decodeResources reads what missing has checked.
func decodeResources(v loose.Value) (r Resources) {
	r.MemoryMB, _ = v.Get("memory").Int()
	r.DiskMB, _ = v.Get("disk").Int()
	r.FDs, _ = v.Get("fds").Int()
	return r
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
