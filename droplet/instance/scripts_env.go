package instance

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/messaging"
)

// scriptsEnv returns the variables for the scripts of a droplet: those of the first-generation DEA, and those of today, which
// do no harm. The droplet is the home, limits are told in bytes, and an app without routes has no port.
func scriptsEnv(i *Instance, s Status, runtime string) []string {
	m, port := i.Message(), ""
	if appPort(m, s) != 0 {
		port = strconv.Itoa(int(s.Port))
	}
	app := scriptsApplication(i, s, runtime, port)
	env := append(systemEnv(i, s),
		"HOME="+s.Container.Inside(container.AppHome),
		"VCAP_APPLICATION="+app,
		"VCAP_APP_PORT="+port,
		"VCAP_DEBUG_IP=", "VCAP_DEBUG_PORT=", "VCAP_CONSOLE_IP=", "VCAP_CONSOLE_PORT=", // neither is offered

		"VMC_WARNING_WARNING=All VMC_* environment variables are deprecated, please use VCAP_* versions.",
		"VMC_SERVICES="+vmcServices(m.Services),
		"VMC_APP_INSTANCE="+app,
		"VMC_APP_NAME="+m.Name,
		"VMC_APP_ID="+s.ID,
		"VMC_APP_VERSION="+s.Version,
		"VMC_APP_HOST=0.0.0.0",
		"VMC_APP_PORT="+port,
	)
	for _, service := range m.Services {
		if name, address := vendorOf(service), addressOf(service); isName(name) && address != "" {
			env = append(env, fmt.Sprintf("VMC_%s=%s", strings.ToUpper(name), address))
		}
	}
	return env
}

// appPort is the port that an app is told; 0 if it has no routes.
func appPort(m *messaging.StartMessage, s Status) uint16 {
	if len(s.URIs) == 0 {
		return 0
	}
	return s.Port
}

// scriptsApplication is VCAP_APPLICATION as it was told then, and what of it is told today.
func scriptsApplication(i *Instance, s Status, runtime, port string) string {
	var app map[string]any
	if err := json.Unmarshal([]byte(vcapApplication(i, s)), &app); err != nil {
		panic(err) // it is ours
	}
	limits := i.Message().Limits
	app["limits"] = map[string]int64{"fds": limits.FDs, "mem": limits.Mem << 20, "disk": limits.Disk << 20}
	if runtime != "" {
		app["runtime"] = runtime
	}
	if port == "" {
		delete(app, "port")
	}
	return appenv.JSON(app)
}

// vmcServices is the list of services of the time before VCAP_SERVICES.
func vmcServices(services messaging.Services) string {
	list := []map[string]any{}
	for _, s := range services {
		one := map[string]any{"name": s.Name, "vendor": vendorOf(s), "tier": s.Plan, "options": s.Credentials}
		if _, version, ok := strings.Cut(s.Label, "-"); ok {
			one["version"] = version
		}
		list = append(list, one)
	}
	return appenv.JSON(list)
}

// vendorOf is the part of a label before its version: "mysql" of "mysql-5.1".
func vendorOf(s messaging.Service) string {
	vendor, _, _ := strings.Cut(s.Label, "-")
	return vendor
}

// addressOf is the host and port of a service; empty if its credentials do not tell both.
func addressOf(s messaging.Service) string {
	var credentials map[string]json.RawMessage
	if json.Unmarshal(s.Credentials, &credentials) != nil {
		return ""
	}
	var host, port messaging.Text
	for _, key := range []string{"hostname", "host"} {
		if host == "" && json.Unmarshal(credentials[key], &host) != nil {
			host = ""
		}
	}
	if json.Unmarshal(credentials["port"], &port) != nil || host == "" || port == "" {
		return ""
	}
	return net.JoinHostPort(string(host), string(port))
}
