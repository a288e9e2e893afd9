package instance

import (
	"fmt"
	"maps"
	"net"
	"path"
	"strconv"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/messaging"
)

// systemEnv returns the variables that the platform gives to an app (dea_ng). They reach the process as they are,
// without a shell in between: no byte of a value has a meaning.
func systemEnv(i *Instance, s Status) []string {
	m := i.Message()
	home := s.Container.Inside(container.AppHome)
	port := strconv.Itoa(int(s.Port))
	env := []string{
		"VCAP_APPLICATION=" + vcapApplication(i, s),
		"VCAP_SERVICES=" + appenv.VCAPServices(m.Services),
		fmt.Sprintf("MEMORY_LIMIT=%dm", m.Limits.Mem),
	}
	if len(m.Services) > 0 {
		env = append(env, "DATABASE_URL="+appenv.DatabaseURL(m.Services))
	}
	return append(env,
		"HOME="+path.Join(home, "app"),
		"TMPDIR="+path.Join(home, "tmp"),
		"VCAP_APP_HOST=0.0.0.0",
		"VCAP_APP_PORT="+port,
		"PORT="+port,
		"CF_INSTANCE_INDEX="+strconv.Itoa(m.Index),
		"CF_INSTANCE_IP="+s.Container.HostIP,
		"CF_INSTANCE_PORT="+port,
		"CF_INSTANCE_ADDR="+net.JoinHostPort(s.Container.HostIP, port),
		fmt.Sprintf(`CF_INSTANCE_PORTS=[{"external":%d,"internal":%d}]`, s.HostPort, s.Port),
	)
}

// vcapApplication is what the Cloud Controller told of the app, else what the start message says, with what only the
// DEA knows.
func vcapApplication(i *Instance, s Status) string {
	m := i.Message()
	app := map[string]any{}
	if len(m.VCAPApplication) > 0 {
		for key, value := range maps.All(m.VCAPApplication) {
			app[key] = value
		}
	} else {
		uris := m.URIs
		if uris == nil {
			uris = []string{}
		}
		maps.Copy(app, map[string]any{
			"limits": m.Limits, "users": nil,
			"application_version": m.Version, "application_name": m.Name, "application_uris": uris,
			"version": m.Version, "name": m.Name, "uris": uris,
		})
	}
	started := s.StartedAt.Format(messaging.UsageTimeLayout)
	maps.Copy(app, map[string]any{
		"application_id": i.App(), "instance_id": s.ID, "instance_index": m.Index, "host": "0.0.0.0", "port": s.Port,
		"started_at": started, "started_at_timestamp": s.StartedAt.Unix(), "start": started,
		"state_timestamp": s.StartedAt.Unix(),
	})
	return appenv.JSON(app)
}
