package lifecycle_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/staging/lifecycle"
)

// value returns the value of a variable of an environment, and "none" where there is none.
func value(env []string, name string) string {
	i := slices.IndexFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i < 0 {
		return "none"
	}
	return env[i][len(name)+1:]
}

// launch returns the environment that the launcher makes of env.
func launch(t *testing.T, s *site, env ...string) []string {
	t.Helper()
	s.env = append(s.env, env...)
	command, err := lifecycle.Launcher(t.Context(), s.process("launcher", []string{"app", "start", "{}"}))
	require.NoError(t, err)
	return command.Env
}

func TestEnvironmentOfApp(t *testing.T) {
	s := newSite(t, app)
	env := launch(t, s, "VCAP_APPLICATION=ignored", `VCAP_APPLICATION={"name":"<a>&b","limits":{"mem":12345678901234567890},"port":1}`, "PORT=8080", "INSTANCE_INDEX=3",
		"INSTANCE_GUID=guid", "VCAP_PLATFORM_OPTIONS={}", "LINES=a\nb", "not a variable", "DATABASE_URL=mine")
	assert.Equal(t, s.path("app"), value(env, "HOME"))
	assert.Equal(t, s.path("tmp"), value(env, "TMPDIR"))
	assert.Equal(t, s.path("deps"), value(env, "DEPS_DIR"))
	assert.Equal(t, `{"host":"0.0.0.0","instance_id":"guid","instance_index":3,"limits":{"mem":12345678901234567890},"name":"<a>&b","port":8080}`, value(env, "VCAP_APPLICATION"))
	assert.Equal(t, "none", value(env, "VCAP_PLATFORM_OPTIONS"))
	assert.Equal(t, "a\nb", value(env, "LINES"))
	assert.Equal(t, "mine", value(env, "DATABASE_URL"))

	env = launch(t, newSite(t, app), `VCAP_APPLICATION={"port":1}`, "PORT=http", "INSTANCE_INDEX=")
	assert.Equal(t, `{"host":"0.0.0.0","instance_id":"","port":1}`, value(env, "VCAP_APPLICATION"))
	for _, odd := range []string{"", "[1]", "null", "{"} {
		assert.Equal(t, odd, value(launch(t, newSite(t, app), "VCAP_APPLICATION="+odd), "VCAP_APPLICATION"))
	}
}

func TestDatabaseURL(t *testing.T) {
	service := func(uri string) string { return fmt.Sprintf(`{"credentials":{"uri":%q}}`, uri) }
	for services, want := range map[string]string{
		"": "none", "{": "none", "[]": "none", `{"a":[]}`: "none", `{"a":[{"credentials":"text"},{"credentials":{"uri":1}}]}`: "none",
		`{"a":[` + service("redis://h") + `]}`:               "none",
		`{"a":[` + service("mysql://u:p%2f$@h/d?x=1") + `]}`: "mysql2://u:p%2f$@h/d?x=1",
		`{"a":[` + service("mysql2://h") + `]}`:              "mysql2://h",
		`{"a":[` + service("postgres://h") + `]}`:            "postgres://h",
		`{"a":[` + service("postgresql://h") + `]}`:          "postgres://h",
		`{"a":[` + service("db2://h") + `]}`:                 "none",
		`{"z":[` + service("mysql://z") + `],"b":[` + service("x:y") + `,` + service("mysql://b") + `,` + service("mysql://c") + `]}`: "mysql2://b",
	} {
		for range 5 { // sorted, and not as a map likes it
			assert.Equal(t, want, value(launch(t, newSite(t, app), "VCAP_SERVICES="+services), "DATABASE_URL"), services)
		}
	}
	s := newSite(t, app)
	s.env = append(s.env, `VCAP_SERVICES={"a":[`+service("mysql://h")+`]}`)
	s.buildpack("b", scripts(map[string]string{"finalize": `echo "$DATABASE_URL"`}))
	require.Equal(t, 0, s.builder("-buildpackOrder=b", "-skipDetect"))
	assert.Equal(t, "mysql2://h\n", s.stdout.String())
}

const references = `{"db":[{"credentials":{"credhub-ref":"((/c/db))"}}]}`

// credHub is a server that knows clients by their certificate. It fails as often as it is told before it answers.
func credHub(t *testing.T, s *site, failures int32, answer string) (options string) {
	t.Helper()
	authority := certtest.NewAuthority(t, "platform")
	serverCert, serverKey := authority.Issue(t.TempDir(), "credhub")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	require.NoError(t, err)
	var asked atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if asked.Add(1) <= failures {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/interpolate" || string(body) != references || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.TLS.PeerCertificates[0].Subject.CommonName == "instance" {
			_, _ = io.WriteString(w, answer)
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, Certificates: []tls.Certificate{pair}, ClientCAs: authority.Pool()}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	cas, own := t.TempDir(), t.TempDir()
	pem, err := os.ReadFile(authority.File)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(cas, "platform.crt"), pem, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(cas, "README"), []byte("no certificate"), 0o600))
	cert, key := authority.Issue(own, "instance")
	s.env = append(s.env, "CF_INSTANCE_CERT="+cert, "CF_INSTANCE_KEY="+key, "CF_SYSTEM_CERT_PATH="+cas, "VCAP_SERVICES="+references)
	return `VCAP_PLATFORM_OPTIONS={"credhub-uri":"` + server.URL + `"}`
}

func TestCredHub(t *testing.T) {
	const resolved = `{"db":[{"credentials":{"uri":"mysql://u:p@h/d"}}]}`
	t.Run("launcher", func(t *testing.T) {
		s := newSite(t, app)
		env := launch(t, s, credHub(t, s, 0, resolved+"\n"))
		assert.Equal(t, resolved, value(env, "VCAP_SERVICES"))
		assert.Equal(t, "mysql2://u:p@h/d", value(env, "DATABASE_URL"))
		assert.Equal(t, "none", value(env, "VCAP_PLATFORM_OPTIONS"))
		assert.Empty(t, s.stdout.String())
	})
	t.Run("builder", func(t *testing.T) {
		s := newSite(t, app)
		s.env = append(s.env, credHub(t, s, 0, resolved))
		s.buildpack("b", scripts(map[string]string{"finalize": `echo "$VCAP_SERVICES"`}))
		require.Equal(t, 0, s.builder("-buildpackOrder=b", "-skipDetect"), s.stderr.String())
		assert.Equal(t, resolved+"\n", s.stdout.String())
	})
	t.Run("again and again", func(t *testing.T) {
		s := newSite(t, app)
		s.env = append(s.env, credHub(t, s, 4, resolved))
		args := []string{"app", "start", "-credhubConnectAttempts=5", "-credhubRetryDelay=1ms"}
		command, err := lifecycle.Launcher(t.Context(), s.process("launcher", args))
		require.NoError(t, err)
		assert.Equal(t, resolved, value(command.Env, "VCAP_SERVICES"))
		require.Len(t, lines(s.stdout.String()), 4)
		assert.Equal(t, "Failed on attempt 4 out of 5: Unable to interpolate credhub references: CredHub answered with status 503", lines(s.stdout.String())[3])
	})
	for name, test := range map[string]struct {
		failures int32
		answer   string
		env      []string // on top
		text     string
	}{
		"fails":           {6, resolved, nil, "Unable to interpolate credhub references: CredHub answered with status 503"},
		"no JSON":         {0, "<html>secret", nil, "something else than JSON"},
		"too much":        {0, strings.Repeat(" ", 9<<20), nil, "more than 8388608 bytes"},
		"no certificate":  {0, resolved, []string{"CF_INSTANCE_CERT="}, "Unable to set up credhub client: Missing CF_INSTANCE_CERT and/or CF_INSTANCE_KEY"},
		"no key file":     {0, resolved, []string{"CF_INSTANCE_KEY=/none"}, "certificate of the instance"},
		"no authorities":  {0, resolved, []string{"CF_SYSTEM_CERT_PATH="}, "Missing CF_SYSTEM_CERT_PATH"},
		"no such path":    {0, resolved, []string{"CF_SYSTEM_CERT_PATH=/none"}, "Can't read contents of system cert path"},
		"no TLS":          {0, resolved, []string{`VCAP_PLATFORM_OPTIONS={"credhub-uri":"http://127.0.0.1:1"}`}, "no https URL"},
		"bad options":     {0, resolved, []string{"VCAP_PLATFORM_OPTIONS=["}, "Invalid platform options: "},
		"nobody is there": {0, resolved, []string{`VCAP_PLATFORM_OPTIONS={"credhub-uri":"https://127.0.0.1:1"}`}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, app)
			s.env = append(append(s.env, credHub(t, s, test.failures, test.answer)), test.env...)
			_, err := lifecycle.Launcher(t.Context(), s.process("launcher", []string{"app", "start", "-credhubRetryDelay=1ms"}))
			assert.Equal(t, lifecycle.ExitEnvironment, code(t, err))
			assert.ErrorContains(t, err, test.text)
			assert.NotContains(t, err.Error()+s.stdout.String(), "secret")
			got := s.builder("-buildpackOrder=b", "-credhubRetryDelay=1ms")
			assert.Contains(t, s.stderr.String(), test.text)
			if name == "bad options" {
				assert.Equal(t, lifecycle.ExitEnvironment, got)
			} else {
				assert.Equal(t, lifecycle.ExitCredHub, got)
			}
		})
	}
	t.Run("another authority", func(t *testing.T) {
		s := newSite(t, app)
		options := credHub(t, s, 0, resolved)
		other := newSite(t, app)
		credHub(t, other, 0, resolved)
		other.env = append(other.env, options)
		_, err := lifecycle.Launcher(t.Context(), other.process("launcher", []string{"app", "start", "-credhubConnectAttempts=1"}))
		assert.ErrorContains(t, err, "certificate signed by unknown authority")
	})
	t.Run("nothing to resolve", func(t *testing.T) {
		for _, env := range [][]string{{"CREDHUB_SKIP_INTERPOLATION=1", "VCAP_SERVICES=" + references}, {`VCAP_SERVICES={"db":"has a credhub-ref"}`}, nil} {
			s := newSite(t, app)
			got := launch(t, s, append(env, `VCAP_PLATFORM_OPTIONS={"credhub-uri":"https://127.0.0.1:1"}`)...)
			for _, entry := range env {
				assert.Contains(t, got, entry)
			}
		}
	})
}
