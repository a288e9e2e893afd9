// Package appenv holds what the environments of staging and of running instances have in common.
package appenv

import (
	"encoding/json"
	"strings"

	"github.com/deakit/deakit/messaging"
)

// VCAPServices returns the JSON of VCAP_SERVICES: bindings by label, in the order of the message.
func VCAPServices(services messaging.Services) string {
	byLabel := map[string]messaging.Services{}
	for _, service := range services {
		byLabel[service.Label] = append(byLabel[service.Label], service)
	}
	return JSON(byLabel)
}

// databaseSchemes maps the scheme of a service's URI to that of DATABASE_URL.
var databaseSchemes = map[string]string{
	"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres", "db2": "ibmdb", "informix": "ibmdb",
}

// DatabaseURL returns the URI of the first service that is a database, its scheme replaced and the rest kept byte for
// byte; empty when there is none.
func DatabaseURL(services messaging.Services) string {
	for _, service := range services {
		// Credentials are anything that a service likes to send. Not a struct, which would take "URI" as well.
		var credentials map[string]json.RawMessage
		var uri string
		if json.Unmarshal(service.Credentials, &credentials) != nil || json.Unmarshal(credentials["uri"], &uri) != nil {
			continue
		}
		scheme, rest, _ := strings.Cut(uri, ":")
		if to, ok := databaseSchemes[scheme]; ok {
			return to + ":" + rest
		}
	}
	return ""
}

// JSON returns the JSON of a value that can be encoded without fail: strings, numbers, and JSON that was read before. It
// does not escape what only a browser cares for.
func JSON(value any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// ShellQuote returns s as one word of a POSIX shell, with no byte of it having a meaning.
func ShellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
