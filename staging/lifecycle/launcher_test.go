package lifecycle_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/lifecycle"
)

// says is a profile script that adds a word to what was said, and tells where it is.
func says(word string) string { return `export SAID="$SAID ` + word + `:$(basename "$PWD")"` + "\n" }

var profiled = stagetest.Files{
	"profile.d/0 a.sh": says("0a"), "profile.d/1b": says("1b"), "app/.profile.d/z": says("z"), "app/.profile": says("profile"),
	"deps/0/x": "", "profile.d/dir/x": "exit 9", "staging_info.yml": `{"start_command":"echo \"from staging:$SAID\"","detected_buildpack":""}`,
}

func TestLauncher(t *testing.T) {
	for name, test := range map[string]struct {
		files stagetest.Files
		args  []string
		want  string
		code  int
	}{
		"command of the platform": {profiled, []string{"app", `echo "here:$SAID in $(basename "$PWD"), $(ls "$DEPS_DIR")"; exit 7`, "{}"}, "here: 0a:app 1b:app z:app profile:app in app, 0\n", 7},
		"command of the droplet":  {profiled, []string{"app", "", ""}, "from staging: 0a:app 1b:app z:app profile:app\n", 0},
		"absolute directory":      {stagetest.Files{"app/x": "", "staging_info.yml": "start_command: ls\n"}, []string{"ABS", "", "x"}, "x\n", 0},
		"no staging_info.yml":     {stagetest.Files{"app/x": ""}, []string{"app", "echo 'it''s' \"$0 $#\"", "{}"}, "its bash 0\n", 0},
		"prefix":                  {stagetest.Files{"app/x": "", "staging_info.yml": `{"start_command":"echo $WORD","config":{"entrypoint_prefix":"env WORD=yes sh -c"}}`}, []string{"app", "", ""}, "yes\n", 0},
		"prefix and own command":  {stagetest.Files{"app/x": "", "staging_info.yml": `{"config":{"entrypoint_prefix":"printf '<%s>'"}}`}, []string{"app", "a b", ""}, "<a b>", 0},
		"no directory":            {nil, []string{"none", "echo never", ""}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			test.files.Write(t, s.dir)
			if test.args[0] == "ABS" {
				test.args[0] = s.path("app")
			}
			command, err := lifecycle.Launcher(t.Context(), s.process("launcher", test.args))
			assert.Equal(t, test.code, s.become(command, err, s.dir))
			if test.want != "" {
				test.want = "Invoking start command.\n" + test.want
			}
			test.want = "Invoking pre-start scripts.\n" + test.want
			assert.Equal(t, test.want, s.stdout.String())
			assert.Equal(t, name == "no directory", s.stderr.Len() > 0, s.stderr.String())
		})
	}
}

func TestLauncherFails(t *testing.T) {
	for name, test := range map[string]struct {
		files stagetest.Files
		args  []string
		code  int
		text  string
	}{
		"two arguments":    {nil, []string{"app", "start"}, 1, "launcher: received only 2 arguments\nUsage: launcher <app-directory> <start-command> <metadata>\n"},
		"no command":       {nil, []string{"app", "", ""}, 1, "launcher: no start command specified or detected in droplet\n"},
		"bad staging info": {stagetest.Files{"staging_info.yml": "[a]"}, []string{"app", "start", ""}, 1, "Invalid staging info - "},
		"a directory":      {stagetest.Files{"staging_info.yml/x": ""}, []string{"app", "start", ""}, 1, "Invalid staging info - "},
		"unknown flag":     {nil, []string{"app", "start", "-none"}, 2, "flag provided but not defined: -none"},
		"flags come last":  {nil, []string{"app", "start", "{}", "-none"}, 0, ""},
		"help":             {nil, []string{"-help"}, 0, "Usage: launcher <app-directory>"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, app)
			test.files.Write(t, s.dir)
			p := s.process("launcher", test.args)
			_, err := lifecycle.Launcher(t.Context(), p)
			assert.Equal(t, test.code, lifecycle.Exit(p, err))
			assert.Contains(t, s.stderr.String(), test.text)
		})
	}
	err := lifecycle.Command{Path: "/none", Args: []string{"none"}}.Replace()
	assert.Equal(t, 4, code(t, err))
}

func TestShell(t *testing.T) {
	s := newSite(t, nil)
	profiled.Write(t, s.dir)
	s.env = append(s.env, "HOME="+s.dir)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"command":            {[]string{"app", `echo "$SAID; $HOME"`}, " 0a:app 1b:app z:app; " + s.path("app") + "\n"},
		"flags":              {[]string{"app", "basename $TMPDIR", "-credhubConnectAttempts=1"}, "tmp\n"},
		"bash by default":    {nil, ""},
		"directory, no more": {[]string{s.path("app")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.stdout.Reset()
			command, err := lifecycle.Shell(t.Context(), s.process("shell", test.args))
			assert.Equal(t, 0, s.become(command, err, s.dir))
			assert.Equal(t, test.want, s.stdout.String())
			assert.Empty(t, s.stderr.String())
		})
	}
	for text, args := range map[string][]string{
		"Provided app direcory does not exist": {"none"}, "flag provided but not defined": {"app", "bash", "-none"},
	} {
		p := s.process("shell", args)
		_, err := lifecycle.Shell(t.Context(), p)
		assert.NotZero(t, lifecycle.Exit(p, err))
		assert.Contains(t, s.stderr.String(), text)
	}
	s.env = append(s.env, "HOME=/none")
	_, err := lifecycle.Shell(t.Context(), s.process("shell", nil))
	assert.Equal(t, 1, code(t, err))
	assert.ErrorContains(t, err, "Could not infer app directory, please provide one")
	s.env = append(s.env, "VCAP_PLATFORM_OPTIONS={")
	_, err = lifecycle.Shell(t.Context(), s.process("shell", []string{"app"}))
	assert.Equal(t, 1, code(t, err))
}

func TestHealthCheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/fine":
			_, _ = w.Write([]byte(r.URL.RawQuery))
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for name, test := range map[string]struct {
		cfg  lifecycle.HealthCheckConfig
		text string
	}{
		"connection":    {lifecycle.HealthCheckConfig{Port: port}, ""},
		"HTTP":          {lifecycle.HealthCheckConfig{Port: port, URI: "/fine?a=b"}, ""},
		"no slash":      {lifecycle.HealthCheckConfig{Port: port, URI: "fine"}, ""},
		"second":        {lifecycle.HealthCheckConfig{Port: port, Addresses: []string{"127.0.0.2.invalid", "127.0.0.1"}}, ""},
		"other status":  {lifecycle.HealthCheckConfig{Port: port, URI: "/"}, "answered with status 418"},
		"slow":          {lifecycle.HealthCheckConfig{Port: port, URI: "/slow", Timeout: 50 * time.Millisecond}, "did not answer within 50ms"},
		"nobody there":  {lifecycle.HealthCheckConfig{Port: "1"}, "connection refused"},
		"no port":       {lifecycle.HealthCheckConfig{Port: "x"}, "lookup"},
		"bad URI":       {lifecycle.HealthCheckConfig{Port: port, URI: "/%zz"}, "invalid URL escape"},
		"no addresses":  {lifecycle.HealthCheckConfig{Port: port, Addresses: []string{}}, "no address but loopback"},
		"other network": {lifecycle.HealthCheckConfig{Port: port, Network: "carrier pigeon"}, "unknown network"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.cfg.Addresses == nil {
				test.cfg.Addresses = []string{"127.0.0.1"}
			}
			if test.cfg.Network == "" {
				test.cfg.Network = "tcp"
			}
			if test.cfg.Timeout == 0 {
				test.cfg.Timeout = 20 * time.Second
			}
			err := lifecycle.Check(t.Context(), test.cfg)
			if test.text == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.text)
			}
		})
	}
	t.Run("program", func(t *testing.T) {
		s := newSite(t, nil)
		// Loopback is not asked: whoever listens there alone is not up.
		err := lifecycle.HealthCheck(t.Context(), s.process("healthcheck", []string{"-port=" + port, "-timeout=20s"}))
		assert.Equal(t, 1, code(t, err))
		assert.Equal(t, "healthcheck failed\n", s.stdout.String())
		err = lifecycle.HealthCheck(t.Context(), s.process("healthcheck", []string{"-none"}))
		assert.Equal(t, 2, code(t, err))

		all, err := net.Listen("tcp4", "0.0.0.0:0")
		require.NoError(t, err)
		defer all.Close()
		_, port, err := net.SplitHostPort(all.Addr().String())
		require.NoError(t, err)
		own, err := net.InterfaceAddrs()
		require.NoError(t, err)
		want := 1
		for _, address := range own {
			if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() {
				want = 0
			}
		}
		s.stdout.Reset()
		p := s.process("healthcheck", []string{"-port", port, "-timeout", "20s"})
		assert.Equal(t, want, lifecycle.Exit(p, lifecycle.HealthCheck(t.Context(), p)))
		if want == 0 {
			assert.Equal(t, "healthcheck passed\n", s.stdout.String())
		}
	})
}

func TestOfThis(t *testing.T) {
	p := lifecycle.OfThis("shell", []string{filepath.Join(t.TempDir(), "none")})
	assert.Equal(t, os.Environ(), p.Env)
	_, err := lifecycle.Shell(t.Context(), p)
	assert.Equal(t, 1, code(t, err))
}
