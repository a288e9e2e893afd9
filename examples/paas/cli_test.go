package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/platform"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging"
)

// A terminal is where a test gives commands to a platform that runs.
type terminal struct {
	t   *testing.T
	api string
}

func newTerminal(t *testing.T) *terminal { return newTerminalWith(t, 2) }

func newTerminalWith(t *testing.T, deas int) *terminal {
	t.Helper()
	p, err := platform.New(t.Context(), platform.Options{Dir: t.TempDir(), DEAs: deas})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	return &terminal{t, p.APIURL()}
}

// run gives a command and returns what it writes.
func (w *terminal) run(args ...string) (code int, out, errs string) {
	w.t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	files := [2]*os.File{}
	for n := range files {
		file, err := os.Create(filepath.Join(w.t.TempDir(), "out"))
		require.NoError(w.t, err)
		defer file.Close()
		files[n] = file
	}
	os.Stdout, os.Stderr = files[0], files[1]
	code = run(append(args, "--api", w.api))
	texts := [2]string{}
	for n, file := range files {
		text, err := os.ReadFile(file.Name())
		require.NoError(w.t, err)
		texts[n] = string(text)
	}
	return code, texts[0], texts[1]
}

func (w *terminal) succeeds(args ...string) string {
	w.t.Helper()
	code, out, errs := w.run(args...)
	require.Equal(w.t, exitOK, code, "%q: %s", args, errs)
	return out
}

func procfile(t *testing.T, name, command string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Procfile"), []byte("web: "+command+"\n"), 0o644))
	return dir
}

// A platform may be without DEAs of its own.
func TestNoDEAs(t *testing.T) {
	assert.Equal(t, 1, strings.Count(newTerminalWith(t, 0).succeeds("deas"), "\n"), "only the heading")
}

func TestPushThatCrashesShowsItsLastLines(t *testing.T) {
	w := newTerminal(t)
	code, out, errs := w.run("push", procfile(t, "crash", "sh -c 'echo boom; exit 3'"))
	assert.Equal(t, exitRollout, code)
	assert.Contains(t, out, "\n    boom\n")
	assert.Contains(t, errs, "(status 3)")
	assert.Contains(t, errs, "paas logs crash\n")
	assert.Regexp(t, `(?m)^\d\d:\d\d:\d\d\.\d{3}  \[crash/0\] boom$`, w.succeeds("logs", "crash"))
	assert.NotContains(t, w.succeeds("logs", "--stderr", "crash"), "boom")
	var line messaging.AppLogLine
	require.NoError(t, json.NewDecoder(strings.NewReader(w.succeeds("logs", "--json", "crash"))).Decode(&line))
	assert.NotEmpty(t, line.Text)
	assert.Contains(t, w.succeeds("app", "crash"), "CRASHED")
	assert.Equal(t, "boom\n", w.succeeds("files", "crash", "logs/stdout.log"))

	code, _, errs = w.run("files", "crash", "nope")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "paas: instance 0 of app crash has no file or directory \"nope\"; to see what there is: paas files crash\n", errs)
	code, _, errs = w.run("files", "crash", "../..")
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "paas: instance 0 of app crash: \"../..\" may not be read, or leads out of the instance\n", errs)
	assert.Contains(t, w.succeeds("files", "--json", "crash"), `{"entries":[{"name":"logs","type":"directory"`)
	signed := strings.TrimSpace(w.succeeds("files", "--url", "crash", "logs/stdout.log"))
	u, err := url.Parse(signed)
	require.NoError(t, err)
	router := net.JoinHostPort("127.0.0.1", u.Port()) // what a resolver makes of *.localhost
	request, err := http.NewRequest(http.MethodGet, strings.Replace(signed, u.Host, router, 1), nil)
	require.NoError(t, err)
	request.Host = u.Host
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, "boom\n", string(body))
	code, _, errs = w.run("logs", "crash", "-i", "7")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "no instance 7")
}

func TestPushThatNobodyCanStageHasNoHint(t *testing.T) {
	w := newTerminal(t)
	code, _, errs := w.run("push", procfile(t, "huge", "true"), "-m", "100000")
	assert.Equal(t, exitStaging, code)
	assert.Contains(t, errs, "no stager offers 100000 MB")
	assert.NotContains(t, errs, "paas logs")
	assert.Len(t, strings.Split(strings.TrimSpace(errs), "\n"), 1)
	for _, flag := range []string{"-i", "-m", "-k"} {
		code, _, _ := w.run("push", procfile(t, "none", "true"), flag, "0")
		assert.Equal(t, exitUsage, code, flag)
	}
}

func TestOperationsSayWhatTheyDid(t *testing.T) {
	w := newTerminal(t)
	pack := filepath.Join(t.TempDir(), "Own Pack")
	require.NoError(t, os.MkdirAll(filepath.Join(pack, "bin"), 0o755))
	for name, script := range map[string]string{
		"detect": "exit 1", "compile": "true", "release": "printf 'default_process_types:\\n  web: sleep 1000\\n'",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(pack, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	dir := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
	// Without a route there is no port to be waited for; this app has none that listens.
	w.succeeds("push", dir, "-b", pack, "-c", "exec perl -MIO::Socket::INET -e '$l=IO::Socket::INET->new(LocalAddr=>\"0.0.0.0\",LocalPort=>$ENV{PORT},Listen=>9);sleep'")
	assert.Regexp(t, `(?m)^buildpack  own-pack$`, w.succeeds("app", "app"))
	assert.Regexp(t, `^app is STARTED, 1 of 2 instances run\n$`, w.succeeds("scale", "app", "2"))
	require.Eventually(t, func() bool { return strings.Contains(w.succeeds("apps"), "2/2") }, 20*time.Second, 10*time.Millisecond)

	deas := strings.Split(strings.TrimSpace(w.succeeds("deas")), "\n")
	require.Len(t, deas, 3)
	assert.Regexp(t, `^id +state +zone +memory +disk +instances$`, deas[0])
	assert.Regexp(t, `^0-[0-9a-f]+ +ok +z1 +\d+ MB +\d+ MB +app: 1$`, deas[1])
	assert.Regexp(t, `^DEA 0-[0-9a-f]+ leaves as soon as its 1 instances run elsewhere; to watch: paas events -f\n$`, w.succeeds("evacuate", "0-"))
	require.Eventually(t, func() bool { return strings.Contains(w.succeeds("events"), "dea.left") }, 20*time.Second, 10*time.Millisecond)
	code, _, errs := w.run("evacuate", "1-")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, "no other DEA takes instances")
	w.succeeds("evacuate", "--force", "1-")
	assert.Regexp(t, `^app is STOP(PING|PED), 0 of 2 instances run\n$`, w.succeeds("stop", "app"))
	assert.Equal(t, "app is deleted\n", w.succeeds("delete", "app"))
}

// A framework is told with the app, and where it does not fit, why.
func TestPushByFramework(t *testing.T) {
	needs.Tool(t, "perl", "perl")
	w := newTerminal(t)
	dir := procfile(t, "app", "exec false")
	script, err := os.ReadFile("../apps/procfile/server.pl")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "server.pl"), script, 0o644))
	code, _, errs := w.run("push", dir, "--framework", "cobol")
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, errs, `unknown framework: "cobol"; there are [buildpack django `)
	code, out, _ := w.run("push", dir, "--framework", "sinatra")
	assert.Equal(t, exitStaging, code)
	assert.Contains(t, out, "Unable to determine Sinatra startup command")

	w.succeeds("push", dir, "--framework", "standalone", "--runtime", "perl", "-c", "perl server.pl")
	assert.Regexp(t, `(?m)^name +state +running +memory +staged by +routes$`, w.succeeds("apps"))
	assert.Regexp(t, `(?m)^app +STARTED +1/1 +128 MB +framework standalone +app\.`, w.succeeds("apps"))
	assert.Regexp(t, `(?m)^framework  standalone$`, w.succeeds("app", "app"))
	assert.NotContains(t, w.succeeds("app", "app"), "buildpack")
	assert.Regexp(t, `^\d+\n$`, w.succeeds("files", "app", "run.pid"))
	help := w.succeeds("push", "--help")
	for _, name := range []string{"java_web,", "standalone,", "buildpack.", "python3,"} {
		assert.Contains(t, help, name)
	}
}
