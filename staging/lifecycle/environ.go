package lifecycle

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// An environ is an environment in the form NAME=value, each name once.
type environ []string

func newEnviron(entries []string) environ {
	var env environ
	for _, entry := range entries {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env.set(name, value)
		}
	}
	return env
}

func (e environ) find(name string) int {
	return slices.IndexFunc(e, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}

func (e environ) get(name string) string {
	if i := e.find(name); i >= 0 {
		return e[i][len(name)+1:]
	}
	return ""
}

func (e *environ) set(name, value string) {
	e.unset(name)
	*e = append(*e, name+"="+value)
}

func (e *environ) unset(name string) {
	if i := e.find(name); i >= 0 {
		*e = slices.Delete(*e, i, i+1)
	}
}

// credHubURI returns what VCAP_PLATFORM_OPTIONS says of CredHub; empty when it says nothing.
func (e environ) credHubURI() (string, error) {
	text := e.get("VCAP_PLATFORM_OPTIONS")
	if text == "" {
		return "", nil
	}
	var options struct {
		URI string `json:"credhub-uri"`
	}
	err := json.Unmarshal([]byte(text), &options)
	return options.URI, err
}

// databaseSchemes maps the scheme of a service's URI to that of DATABASE_URL.
var databaseSchemes = map[string]string{"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres"}

// setDatabaseURL sets DATABASE_URL to the first database of VCAP_SERVICES, by labels in their order. Without one it stays
// as it is. The bytes behind the scheme are kept.
func (e *environ) setDatabaseURL() {
	var services map[string][]struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	if json.Unmarshal([]byte(e.get("VCAP_SERVICES")), &services) != nil {
		return // nobody promised that it is there, and that all is well with it
	}
	for _, label := range slices.Sorted(maps.Keys(services)) {
		for _, service := range services[label] {
			var credentials map[string]json.RawMessage // anything that a service likes to send
			var uri string
			if json.Unmarshal(service.Credentials, &credentials) != nil || json.Unmarshal(credentials["uri"], &uri) != nil {
				continue
			}
			scheme, rest, _ := strings.Cut(uri, ":")
			if to := databaseSchemes[scheme]; to != "" && !strings.ContainsRune(rest, 0) {
				e.set("DATABASE_URL", to+":"+rest)
				return
			}
		}
	}
}
