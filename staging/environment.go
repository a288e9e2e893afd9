package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/messaging"
)

// Environment is what the programs of a buildpack find in their environment (dea_ng). The zero value has nothing of an
// app in it.
type Environment struct {
	Application json.RawMessage    // VCAP_APPLICATION; nil becomes {}
	Services    messaging.Services // VCAP_SERVICES, and DATABASE_URL when there are any

	// MemoryMB is the memory limit of the app, MEMORY_LIMIT, in MB. Without a limit there is no such variable.
	MemoryMB int64

	// User has variables in the form NAME=value that come after the others and win over them. Values arrive as they
	// are: no shell expands what is in them.
	User []string
}

// validate finds JSON that is none: it comes from whoever embeds this package, and not from a message.
func (e Environment) validate() error {
	if len(e.Application) > 0 && !json.Valid(e.Application) {
		return errors.New("Task.Environment.Application must be JSON")
	}
	if _, err := json.Marshal(e.Services); err != nil {
		return errors.New("Task.Environment.Services must hold JSON in its raw fields") // err may quote a secret
	}
	return nil
}

// variables returns the environment in the form that processes get. timeout becomes STAGING_TIMEOUT.
func (e Environment) variables(timeout time.Duration) ([]string, error) {
	application := string(e.Application)
	if application == "" {
		application = "{}"
	}
	env := []string{
		"VCAP_APPLICATION=" + application,
		"VCAP_SERVICES=" + appenv.VCAPServices(e.Services),
		"STAGING_TIMEOUT=" + seconds(timeout),
	}
	if e.MemoryMB > 0 {
		env = append(env, fmt.Sprintf("MEMORY_LIMIT=%dm", e.MemoryMB))
	}
	if len(e.Services) > 0 {
		env = append(env, "DATABASE_URL="+appenv.DatabaseURL(e.Services))
	}
	env = append(env, e.user()...)
	for _, entry := range env {
		if strings.ContainsRune(entry, 0) {
			name, _, _ := strings.Cut(entry, "=")
			return nil, fmt.Errorf("environment variable %q has a NUL byte; remove it", name)
		}
	}
	return env, nil
}

// user returns the variables of the user, each with a name and a value.
func (e Environment) user() []string {
	var env []string
	for _, v := range messaging.ParseEnv(e.User) {
		env = append(env, v.Name+"="+v.Value)
	}
	return env
}

// seconds formats a duration as Ruby prints a float: "900.0".
func seconds(d time.Duration) string {
	text := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
