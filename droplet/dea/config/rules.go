package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/logging"
	"github.com/deakit/deakit/messaging"
)

// A rule is a tag of our own.
type rule struct {
	valid func(string) bool
	must  string
}

var rules = map[string]rule{
	"level":    {isLevel, "must be one of " + strings.Join(logging.LevelNames(), ", ")},
	"absolute": {filepath.IsAbs, "must be an absolute path"},
	"host":     {isHost, "must be a host name"},
	"hostport": {isHostPort, "must have the form host:port"},
	"nats":     {isNATS, "must have the form nats://[user:password@]host:port"},
	"http":     {isHTTP, "must have the form http://[user:password@]host[:port][/path], or https://…"},
	"syslog":   {isSyslog, "must have the form udp://host:port or unixgram:///path"},
	"drain":    {isDrain, "must have the form syslog://host:port, syslog-tls://host:port or syslog-udp://host:port"},
	"subject":  {isSubject, "must be a NATS subject without wildcards and blanks"},
	"label":    {label.MatchString, "must be one label of a host name: lower-case letters, digits and '-'"},
	"key":      {isKey, "must have at least 32 characters; openssl rand -hex 16 makes such a text"},
	"variable": {variable.MatchString, "must be named with letters, digits and '_', as variables are"},
}

// validate is built once: it caches what it learns of each type.
var validate = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(keyOf)
	for tag, rule := range rules {
		err := v.RegisterValidation(tag, func(field validator.FieldLevel) bool { return rule.valid(field.Field().String()) })
		if err != nil {
			panic(err) // a tag name that the validator does not take: a mistake above
		}
	}
	return v
})

// explain says what a value that is there must be.
func explain(field validator.FieldError) string {
	if rule, ok := rules[field.Tag()]; ok {
		return rule.must
	}
	param, unit := field.Param(), ""
	if field.Type() == reflect.TypeFor[time.Duration]() {
		unit = " seconds"
		if d, err := time.ParseDuration(param); err == nil {
			param = strconv.Itoa(int(d / time.Second))
		}
	}
	switch field.Tag() {
	case "required":
		return "must not be empty"
	case "gt":
		return "must be more than " + param + unit
	case "gte":
		return "must be at least " + param + unit
	case "lte":
		return "must be at most " + param + unit
	case "min":
		return "needs at least one entry"
	case "unique":
		return "must not have the same entry twice"
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(param), ", ")
	case "ip":
		return "must be an IP address"
	default:
		return fmt.Sprintf("must satisfy %s %s", field.Tag(), param)
	}
}

func isLevel(name string) bool { return slices.Contains(logging.LevelNames(), name) }

func isHost(name string) bool {
	u, err := url.Parse("//" + name)
	return err == nil && name != "" && u.Host == name && u.Port() == "" && !strings.ContainsAny(name, ":[] ")
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func isHostPort(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && host != "" && isPort(port)
}

// isURL accepts an address with a host, with a port that may be there.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && isPort(cmp.Or(u.Port(), "1"))
}

func isNATS(text string) bool { return isURL(text, "nats", "tls") }

func isHTTP(text string) bool { return isURL(text, "http", "https") }

func isSyslog(text string) bool {
	_, _, err := logging.ParseSyslogAddress(text)
	return err == nil
}

func isDrain(text string) bool { return applog.CheckURL(text) == nil }

func isSubject(text string) bool {
	return !slices.ContainsFunc(strings.Split(text, "."), func(token string) bool { return !messaging.IsToken(token) })
}

// isKey wants as much as dea_ng draws for itself.
func isKey(text string) bool { return len(text) >= 32 }

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
