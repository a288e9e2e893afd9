package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
	"github.com/deakit/deakit/staging/stager"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// newStager starts a stager and returns the URL of its NATS server.
func newStager(t *testing.T) string {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	require.Eventually(t, conn.IsConnected, patience, time.Millisecond)
	q, err := stager.NewQueue(stager.QueueConfig{BaseDir: t.TempDir(), Old: true}, stager.QueueParts{Conn: conn, Backend: stagetest.Backend(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	peer := server.Connect()
	require.Eventually(t, func() bool {
		_, err := peer.Request("staging", nil, patience)
		return err == nil
	}, patience, 5*time.Millisecond, "it listens")
	return server.URL()
}

// request runs the program.
func request(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRequest(t *testing.T) {
	url := newStager(t)
	dir := t.TempDir()
	zipped := filepath.Join(dir, "app.zip")
	require.NoError(t, os.WriteFile(zipped, stagetest.Files{"app.rb": "require 'sinatra'", "bin/x": "#!/bin/sh"}.Zip(t), 0o600))
	for name, args := range map[string][]string{
		"directory": {"../apps/sinatra"},
		"zip file":  {zipped, "--framework", "sinatra", "--runtime", "ruby19", "-e", "A=b,c", "--id", "my-sinatra-app"},
		"old":       {"../apps/sinatra", "--old"},
	} {
		droplet := filepath.Join(t.TempDir(), "droplet.tgz")
		code, out, errs := request(t, append(args, "--nats", url, "-o", droplet)...)
		require.Equal(t, exitOK, code, "%s: %s%s", name, out, errs)
		assert.Contains(t, out, `"download_uri": "http://127.0.0.1:`, "without a password")
		assert.Contains(t, out, "] Setting up temporary directories\n")
		assert.Contains(t, out, "] Done!\n\n"+droplet)
		data, err := os.ReadFile(droplet)
		require.NoError(t, err)
		assert.Contains(t, stagetest.ReadTgz(t, data)["./startup"], "%VCAP_LOCAL_RUNTIME% app.rb $@", name)
		files, err := os.ReadDir(filepath.Dir(droplet))
		require.NoError(t, err)
		assert.Len(t, files, 1)
	}
}

// TestConfigurationOfThePlugin takes the file that the article has for the plugin.
func TestConfigurationOfThePlugin(t *testing.T) {
	url := newStager(t)
	file := filepath.Join(t.TempDir(), "stage-sinatra.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
source_dir: 'apps/sinatra/app'
dest_dir: '/tmp/staging/sinatra'
environment:
  services: []
  framework_info:
    name: sinatra
    detection:
      - "*.rb": "\\s*require[\\s\\(]*['\"]sinatra(/base)?['\"]"
      - config/environment.rb: false
  runtime_info: {name: 'ruby19', executable: 'ruby', version: '1.9.3'}
  resources: {memory: 256, disk: 256, fds: 1024}
`), 0o600))
	droplet := filepath.Join(t.TempDir(), "d.tgz")
	code, out, errs := request(t, "../apps/sinatra", "--nats", url, "-o", droplet, "--properties", file, "--json")
	require.Equal(t, exitOK, code, errs)
	var answer messaging.QueuedStagingAnswer
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	assert.Contains(t, answer.TaskLog, "Done!")
	assert.FileExists(t, droplet)
}

func TestFailures(t *testing.T) {
	url := newStager(t)
	empty, python := t.TempDir(), stagetest.Files{"app.py": "x"}.Dir(t)
	file := func(content string) string { return stagetest.Save(t, []byte(content)) }
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitOK, ""},
		{[]string{"--nonsense"}, exitUsage, "try --help"},
		{[]string{"--timeout", "0s"}, exitUsage, "--timeout must be more than 0"},
		{[]string{"/absent"}, exitFailed, "name a directory or a zip file"},
		{[]string{empty}, exitFailed, "shows no framework"},
		{[]string{python}, exitFailed, "--framework wsgi, or django"},
		{[]string{file("no zip")}, exitFailed, "the app is no zip file"},
		{[]string{empty, "--properties", "/absent"}, exitFailed, "--properties: open /absent"},
		{[]string{empty, "--properties", file("a: [")}, exitFailed, "--properties: "},
		{[]string{empty, "--properties", file("framework: sinatra")}, exitFailed, "runtime_info is missing"},
		{[]string{empty, "--framework", "sinatra", "--listen", "nowhere:x"}, exitFailed, "--listen: "},
		{[]string{empty, "--framework", "sinatra", "--url", "x"}, exitFailed, "--url must have the form"},
		{[]string{empty, "--framework", "sinatra", "--queue", "nobody"}, exitFailed, `no stager listens on the queue "nobody"`},
		{[]string{empty, "--framework", "sinatra", "--queue", "nobody", "--old", "--timeout", "100ms"}, exitTimeout, "Timed out after 0.1s."},
		{[]string{empty, "--framework", "sinatra", "--nats", "nats://127.0.0.1:1", "--timeout", "100ms"}, exitFailed, "no NATS server answers"},
		{[]string{empty, "--framework", "sinatra", "--nats", "nats://127.0.0.1:99999"}, exitFailed, "--nats: "},
		{[]string{empty, "-e", "A B=sesame"}, exitUsage, `"A B" is no name of a variable`},
		{[]string{"../apps/sinatra", "-o", "/absent/d.tgz"}, exitFailed, "--output /absent/d.tgz: a file cannot be made there: no such file or directory"},
		{[]string{"../apps/sinatra", "-o", empty}, exitFailed, "--output " + empty + ": it is there, and no file"},
		{[]string{empty, "--framework", "Sinatra", "--runtime", "ruby18"}, exitStaging, "names are in lower case"},
		{[]string{"../apps/sinatra", "--url", "http://127.0.0.1:1"}, exitStaging, "nobody has fetched the app at http://127.0.0.1:1; where the stager"},
		{[]string{empty, "--framework", "sinatra"}, exitStaging, "Staging task failed:\n Staging plugin failed: Unable to determine Sinatra startup command"},
		{[]string{empty, "--framework", "sinatra", "--old"}, exitStaging, "Staging plugin failed staging application:\n Unable to determine"},
		{[]string{"../apps/sinatra", "--url", "http://127.0.0.1:1"}, exitStaging, "Failed downloading app"},
	} {
		dir := t.TempDir()
		args := append([]string{"--nats", url, "-o", filepath.Join(dir, "d.tgz")}, test.args...)
		code, _, errs := request(t, args...)
		assert.Equal(t, test.code, code, "%v: %s", test.args, errs)
		assert.Contains(t, errs, test.want, test.args)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left, test.args)
	}
}

// A runtime that the stager lacks is no reason to fail, and told where it is seen.
func TestRuntimeThatIsNotThere(t *testing.T) {
	code, _, errs := request(t, "../apps/sinatra", "--nats", newStager(t), "-o", filepath.Join(t.TempDir(), "d.tgz"), "--runtime", "cobol68", "--json")
	require.Equal(t, exitOK, code, errs)
	assert.Contains(t, errs, `request-stager: The app can be staged, and needs a runtime that is not here: runtime "cobol68"`)
}

// TestOddAnswers are those of stagers that are none.
func TestOddAnswers(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	require.Eventually(t, conn.IsConnected, patience, time.Millisecond)
	text := ""
	_, err := conn.Subscribe("staging", func(m *nats.Msg) { assert.NoError(t, m.Respond([]byte(text))) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for wire, want := range map[string]string{
		`nonsense`:                   "Failed decoding response: ",
		`{"task_id":"1"}`:            "the stager says that all is well, and has posted no droplet",
		`"{\"error\":\"no\"}"`:       "request-stager: no\n",
		`{"error":"a","more":[1,2]}`: "request-stager: a\n",
	} {
		text = wire
		_, _, errs := request(t, "../apps/sinatra", "--nats", server.URL(), "-o", filepath.Join(t.TempDir(), "d.tgz"))
		assert.Contains(t, errs, want)
	}
}

// TestEndpoints: they are for those who were told, and take one droplet.
func TestEndpoints(t *testing.T) {
	app, err := openApp("../apps/sinatra")
	require.NoError(t, err)
	defer app.Close()
	output := filepath.Join(t.TempDir(), "d.tgz")
	e, err := openEndpoints(app, output, "127.0.0.1:0", "", "a b", patience)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- e.serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	do := func(method, uri string, body io.Reader, contentType string) (int, []byte) {
		req, err := http.NewRequest(method, uri, body)
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, data
	}
	form := func(field string) (io.Reader, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreateFormFile(field, "droplet.tgz")
		require.NoError(t, err)
		_, _ = part.Write([]byte("content"))
		require.NoError(t, w.Close())
		return &b, w.FormDataContentType()
	}

	status, data := do("GET", e.downloadURI(), nil, "")
	require.Equal(t, 200, status)
	files, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	assert.Len(t, files.File, 2)
	bare := redact(e.downloadURI())
	status, _ = do("GET", bare, nil, "")
	assert.Equal(t, 401, status)
	status, _ = do("GET", strings.Replace(e.downloadURI(), "a%20b", "other", 1), nil, "")
	assert.Equal(t, 404, status)
	_, err = e.keep()
	require.ErrorContains(t, err, "has posted no droplet")

	body, kind := form("upload[droplet]")
	status, _ = do("POST", e.uploadURI()+"x", body, kind)
	assert.Equal(t, 400, status, "another upload")
	body, kind = form("other")
	status, _ = do("POST", e.uploadURI(), body, kind)
	assert.Equal(t, 400, status)
	status, _ = do("POST", e.uploadURI(), strings.NewReader("no form"), "text/plain")
	assert.Equal(t, 400, status)
	body, kind = form("upload[droplet]")
	status, _ = do("POST", redact(e.uploadURI()), body, kind)
	assert.Equal(t, 401, status)
	body, kind = form("upload[droplet]")
	status, _ = do("POST", e.uploadURI(), body, kind)
	assert.Equal(t, 200, status)
	body, kind = form("upload[droplet]")
	status, _ = do("POST", e.uploadURI(), body, kind)
	assert.Equal(t, 400, status, "a second time")
	size, err := e.keep()
	require.NoError(t, err)
	assert.EqualValues(t, 7, size)
	cancel()
	require.NoError(t, <-served)
}

// TestZip: modes, links and hidden files are kept, and what nobody uploads is left out.
func TestZip(t *testing.T) {
	dir := stagetest.Files{"bin/run": "x", ".hidden": "h", "link -> bin/run": "", ".git/config": "x", "skip/a": "x", ".cfignore": "skip\n"}.Dir(t)
	require.NoError(t, os.Symlink("bin/run", filepath.Join(dir, "to")))
	file, err := openApp(dir)
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	files, err := zip.NewReader(file, info.Size())
	require.NoError(t, err)
	modes := map[string]string{}
	for _, f := range files.File {
		modes[f.Name] = f.Mode().String()
	}
	assert.Equal(t, "-rwxr-xr-x", modes["bin/run"])
	assert.Equal(t, "Lrwxrwxrwx", modes["to"])
	assert.Contains(t, modes, ".hidden")
	assert.NotContains(t, modes, ".git/config")
	assert.NotContains(t, modes, "skip/a")
}

func TestZipThatFails(t *testing.T) {
	dir := stagetest.Files{"app.rb": "x", ".cfignore/a": "x"}.Dir(t)
	_, err := openApp(dir)
	require.ErrorContains(t, err, "zip "+dir+": ")
}
