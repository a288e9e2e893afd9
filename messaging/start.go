package messaging

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A StartMessage tells a DEA to start one instance of an app.
type StartMessage struct {
	Droplet     Text     `json:"droplet" validate:"required"` // app guid
	Index       int      `json:"index" validate:"gte=0"`
	Name        string   `json:"name" validate:"required"`
	Version     string   `json:"version" validate:"required"`
	URIs        []string `json:"uris"`
	CCPartition string   `json:"cc_partition" validate:"required"`
	Limits      Limits   `json:"limits"`

	// SHA1 of the droplet file in hex, and where to get it. The URL may carry user info.
	SHA1          string `json:"sha1"`
	ExecutableURI string `json:"executableUri"`

	Env      []string `json:"env"`                          // NAME=value
	Services Services `json:"services" validate:"required"` // must be there, may be empty

	StartCommand       string `json:"start_command,omitempty"`        // overrides that of the droplet
	HealthCheckTimeout Int    `json:"health_check_timeout,omitempty"` // seconds; 0 or less means the DEA's default
	Stack              string `json:"stack,omitempty"`

	EgressNetworkRules []EgressRule `json:"egress_network_rules,omitempty" validate:"dive"`

	// VCAPApplication is what the Cloud Controller knows of the app, the base of VCAP_APPLICATION (since 2014).
	VCAPApplication map[string]json.RawMessage `json:"vcap_application,omitempty"`
}

func (m *StartMessage) absent() {
	m.Index, m.Limits = -1, Limits{Mem: -1, Disk: -1, FDs: -1}
}

// Environment returns the user's variables: entries split at the first "=", later duplicates last, those without a
// name left out.
func (m StartMessage) Environment() []EnvVar { return ParseEnv(m.Env) }

// An EnvVar is one variable of an environment.
type EnvVar struct{ Name, Value string }

// ParseEnv splits entries at the first "="; an entry without one has an empty value, one without a name is left out.
func ParseEnv(entries []string) []EnvVar {
	var env []EnvVar
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		if name == "" {
			continue
		}
		env = slices.DeleteFunc(env, func(v EnvVar) bool { return v.Name == name })
		env = append(env, EnvVar{name, value})
	}
	return env
}

// Limits of one instance. The numbers must be integers on the wire.
type Limits struct {
	Mem  int64 `json:"mem" validate:"gte=0"`  // MB
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
	Name           string          `json:"name"`
	Label          string          `json:"label"`
	Tags           json.RawMessage `json:"tags,omitempty"`
	Plan           json.RawMessage `json:"plan,omitempty"`
	PlanOption     json.RawMessage `json:"plan_option,omitempty"`
	Credentials    json.RawMessage `json:"credentials,omitempty"`
	SyslogDrainURL json.RawMessage `json:"syslog_drain_url,omitempty"`
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

// An EgressRule allows traffic out of an instance or a staging task.
type EgressRule struct {
	Protocol    string `json:"protocol" validate:"protocol"`
	Destination string `json:"destination,omitempty"` // CIDR, address, or range
	Ports       string `json:"ports,omitempty"`       // "80,443,8000-9000"
	Type        *int   `json:"type,omitempty"`        // ICMP
	Code        *int   `json:"code,omitempty"`        // ICMP
	Log         bool   `json:"log,omitempty"`
}

func isProtocol(name string) bool {
	return slices.Contains([]string{"tcp", "udp", "icmp", "all"}, name)
}
