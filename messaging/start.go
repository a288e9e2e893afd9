package messaging

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A StartMessage tells a DEA to start one instance of an app. Keys that are not listed here are ignored: executableFile,
// prod, console, debug, tags, flapping, framework.
type StartMessage struct {
	Droplet     Text     `json:"droplet" validate:"required"`      // app guid
	Index       int      `json:"index" validate:"gte=0"`           // instance index
	Name        string   `json:"name" validate:"required"`         // of the app
	Version     string   `json:"version" validate:"required"`      // of the app
	URIs        []string `json:"uris"`                             // routes; without any there is no health check
	CCPartition string   `json:"cc_partition" validate:"required"` // comes back in heartbeats and exits
	Limits      Limits   `json:"limits"`                           // what the instance gets

	SHA1          string `json:"sha1"`          // of the droplet file, in hex
	ExecutableURI string `json:"executableUri"` // where to get the droplet; may carry user info

	Env      []string `json:"env"`                          // the user's variables, NAME=value
	Services Services `json:"services" validate:"required"` // must be there, may be empty

	StartCommand       string `json:"start_command,omitempty"`        // overrides that of the droplet
	HealthCheckTimeout Int    `json:"health_check_timeout,omitempty"` // seconds; 0 or less means the DEA's default
	Stack              string `json:"stack,omitempty"`                // name of the root file system (since 2015-02)

	EgressNetworkRules []EgressRule `json:"egress_network_rules,omitempty"` // what may go out (since 2014-06)

	// What the Cloud Controller knows of the app, the base of VCAP_APPLICATION (since 2014-03).
	VCAPApplication map[string]json.RawMessage `json:"vcap_application,omitempty"`

	RuntimeInfo json.RawMessage `json:"runtime_info,omitempty"` // what runs the app, with its name: a map (2012)
	Runtime     json.RawMessage `json:"runtime,omitempty"`      // the same, or its name alone (until 2013)
}

// WantedRuntime returns what the message says of the runtime, as JSON: a map, or the name alone. Nil means that it says
// nothing, as since there are buildpacks.
func (m StartMessage) WantedRuntime() json.RawMessage {
	for _, told := range []json.RawMessage{m.RuntimeInfo, m.Runtime} {
		if len(told) > 0 && (told[0] == '{' || told[0] == '"') && !bytes.Equal(told, []byte(`""`)) {
			return told
		}
	}
	return nil
}

func (m *StartMessage) absent() {
	m.Index, m.Limits = -1, Limits{Mem: -1, Disk: -1, FDs: -1}
}

// Environment returns the user's variables: entries split at the first "=", later duplicates last, those without a
// name left out.
func (m StartMessage) Environment() []EnvVar { return ParseEnv(m.Env) }

// An EnvVar is one variable of an environment.
type EnvVar struct{ Name, Value string }

// ParseEnv splits entries at the first "="; an entry without one has an empty value, one without a name is left out. Of
// several with one name the last one counts, in its place.
func ParseEnv(entries []string) []EnvVar {
	var env []EnvVar
	seen := map[string]bool{}
	for _, entry := range slices.Backward(entries) {
		if name, value, _ := strings.Cut(entry, "="); name != "" && !seen[name] {
			seen[name] = true
			env = append(env, EnvVar{name, value})
		}
	}
	slices.Reverse(env)
	return env
}

// Limits of one instance. The numbers must be integers on the wire.
type Limits struct {
	Mem  int64 `json:"mem" validate:"gte=0"`  // memory, MB
	Disk int64 `json:"disk" validate:"gte=0"` // MB
	FDs  int64 `json:"fds" validate:"gte=0"`  // open files
}

// Services are the service bindings of an app. Null entries are dropped.
type Services []Service

// UnmarshalJSON implements json.Unmarshaler.
func (s *Services) UnmarshalJSON(data []byte) error {
	var entries []*Service
	if err := json.Unmarshal(data, &entries); err != nil {
		return err
	}
	if entries == nil {
		*s = nil
		return nil
	}
	*s = Services{}
	for _, entry := range entries {
		if entry != nil {
			*s = append(*s, *entry)
		}
	}
	return nil
}

// A Service is one service binding, with those of its keys that reach VCAP_SERVICES, in that order. Values are kept
// as the Cloud Controller sent them.
type Service struct {
	Name           string          `json:"name"`                       // of the service instance
	Label          string          `json:"label"`                      // of the service, in 2014 with its version; or "user-provided"
	Tags           json.RawMessage `json:"tags,omitempty"`             // array of strings; in 2013 an object
	Plan           json.RawMessage `json:"plan,omitempty"`             // name of the plan
	PlanOption     json.RawMessage `json:"plan_option,omitempty"`      // string
	Credentials    json.RawMessage `json:"credentials,omitempty"`      // any JSON; secret
	SyslogDrainURL json.RawMessage `json:"syslog_drain_url,omitempty"` // where the app's log goes
}

// UnmarshalJSON implements json.Unmarshaler. Keys that are null or false count as absent.
func (s *Service) UnmarshalJSON(data []byte) error {
	type plain Service
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err
	}
	for _, raw := range []*json.RawMessage{&s.Tags, &s.Plan, &s.PlanOption, &s.Credentials, &s.SyslogDrainURL} {
		if bytes.Equal(*raw, []byte("null")) || bytes.Equal(*raw, []byte("false")) {
			*raw = nil
		}
	}
	return nil
}

// DrainURLs returns the syslog drain URLs of the services.
func (s Services) DrainURLs() []string {
	urls := []string{}
	for _, service := range s {
		var url string
		if len(service.SyslogDrainURL) > 0 && json.Unmarshal(service.SyslogDrainURL, &url) == nil && url != "" {
			urls = append(urls, url)
		}
	}
	return urls
}

// An EgressRule allows traffic out of an instance or a staging task. A message is not refused for an unknown protocol: that
// start fails, and the failure is told (dea_ng).
type EgressRule struct {
	Protocol    string `json:"protocol" validate:"protocol"` // tcp, udp, icmp or all
	Destination string `json:"destination,omitempty"`        // CIDR, address, or range
	Ports       string `json:"ports,omitempty"`              // "80,443,8000-9000"
	Type        *int   `json:"type,omitempty"`               // ICMP type
	Code        *int   `json:"code,omitempty"`               // ICMP code
	Log         bool   `json:"log,omitempty"`                // write what it lets through to the log
}

// Protocols lists the values of EgressRule.Protocol.
func Protocols() []string { return []string{"tcp", "udp", "icmp", "all"} }

func isProtocol(name string) bool { return slices.Contains(Protocols(), name) }
