package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
)

// TestArticle is the article with the binaries of today: a stager, and the script that asks it.
func TestArticle(t *testing.T) {
	needs.Tool(t, "ruby", "ruby")
	client := filepath.Join(t.TempDir(), "request-stager")
	out, err := exec.Command("go", "build", "-o", client, "../request-stager").CombinedOutput()
	require.NoError(t, err, string(out))

	s := newSite(t, nil)
	announced, err := s.peer.SubscribeSync("vcap.component.announce")
	require.NoError(t, err)
	s.Says("Subscribed to staging")
	s.Says("Server running")
	droplet := filepath.Join(s.dir, "droplet.tgz")
	p := programtest.Launch(t, client, "../apps/sinatra", "--nats", s.server.URL(), "-o", droplet)
	require.Equal(t, 0, p.End(), p.Text())
	var said []string
	for line := range strings.Lines(p.Text()) {
		if strings.HasPrefix(line, "[20") {
			said = append(said, strings.TrimSpace(line[22:]))
		}
	}
	assert.Equal(t, []string{
		"Setting up temporary directories", "Downloading application", "Unpacking application", "Staging application",
		"Auto-reconfiguration disabled because app does not use Bundler.", "Please provide a Gemfile.lock to use auto-reconfiguration.",
		"Creating droplet", "Uploading droplet", "Done!",
	}, said)
	data, err := os.ReadFile(droplet)
	require.NoError(t, err)
	members := stagetest.ReadTgz(t, data)
	assert.Equal(t, `#!/bin/bash
export RACK_ENV="${RACK_ENV:-production}"
export RUBYOPT="-rubygems -I$PWD/ruby -rstdsync"
export TMPDIR="$PWD/tmp"
mkdir ruby
echo "\$stdout.sync = true" >> ./ruby/stdsync.rb
cd app
%VCAP_LOCAL_RUNTIME% app.rb $@ > ../logs/stdout.log 2> ../logs/stderr.log &
STARTED=$!
echo "$STARTED" >> ../run.pid
wait $STARTED
`, members["./startup"])

	// It is announced when it has a connection; who has missed that asks.
	var record object
	msg, err := announced.NextMsg(time.Millisecond)
	if err != nil {
		msg, err = s.peer.Request("vcap.component.discover", nil, patience)
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(msg.Data, &record))
	assert.Equal(t, "Stager", record["type"])
	s.Signal(syscall.SIGUSR2)
	assert.Equal(t, exitOK, s.End())
}

// TestAnnouncement: whoever listens when a stager comes up learns where its figures are.
func TestAnnouncement(t *testing.T) {
	s := newSite(t, func(cfg object) { cfg["nats_uri"], cfg["index"], cfg["local_route"] = "", 3, "127.0.0.1" })
	assert.Equal(t, exitFailed, s.End(), "an empty nats_uri is no URL")

	announced, err := s.peer.SubscribeSync("vcap.component.announce")
	require.NoError(t, err)
	require.NoError(t, s.peer.Flush())
	cfg := article(s.dir, s.server.URL())
	cfg["index"], cfg["local_route"] = 3, "127.0.0.1"
	p := programtest.Start(t, "-c", write(t, cfg))
	msg, err := announced.NextMsg(patience)
	require.NoError(t, err)
	var record object
	require.NoError(t, json.Unmarshal(msg.Data, &record))
	assert.Equal(t, "Stager", record["type"])
	assert.Equal(t, 3.0, record["index"])
	credentials := record["credentials"].([]any)
	req, err := http.NewRequest(http.MethodGet, "http://"+record["host"].(string)+"/varz", nil)
	require.NoError(t, err)
	req.SetBasicAuth(credentials[0].(string), credentials[1].(string))
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var varz object
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&varz))
	assert.Equal(t, []any{0.0, 0.0}, []any{varz["num_pending_tasks"], varz["num_active_tasks"]})
	p.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, p.End())
}

// TestProxiesAreNotUsed: one that has every app would be asked by whoever heeds the variables.
func TestProxiesAreNotUsed(t *testing.T) {
	var asked atomic.Int64
	app := stagetest.Files{"app.rb": "require 'sinatra'"}.Zip(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = w.Write(app)
	}))
	defer proxy.Close()
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("no_proxy", "")
	t.Setenv("NO_PROXY", "")
	s := newSite(t, nil)
	s.Says("Server running")
	a := answer(t, s.ask(request("http://app.invalid/app.zip", "http://app.invalid/droplet")))
	assert.Equal(t, "Staging task failed:\n Failed downloading app", a.Error)
	assert.Zero(t, asked.Load())
}

// service is the article's own stand-in for a Cloud Controller, which also keeps what it receives.
const service = `require 'sinatra'
get '/download_unstaged_app/:id' do
  send_file(ENV['APP_ZIP'])
end
post '/upload_droplet/:id/:upload_id' do
  droplet = params[:upload][:droplet][:tempfile].read
  File.binwrite(ENV['DROPLET'], droplet)
  File.write(ENV['DROPLET'] + '.name', params[:upload][:droplet][:filename])
  nil
end
`

// TestEndpointsOfTheArticle: what a Sinatra app receives is where such apps look for it.
func TestEndpointsOfTheArticle(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	if exec.Command(ruby, "-e", "require 'sinatra/base'; require 'webrick'").Run() != nil {
		needs.Skip(t, "Ruby has no Sinatra or WEBrick on this machine: apt-get install ruby-sinatra ruby-webrick")
	}
	dir := t.TempDir()
	stagetest.Files{"app.rb": service}.Write(t, dir)
	zipped, received := filepath.Join(dir, "sinatra-app.zip"), filepath.Join(dir, "droplet.tgz")
	require.NoError(t, os.WriteFile(zipped, stagetest.Files{"app.rb": "require 'sinatra'"}.Zip(t), 0o600))
	number := freePort(t)
	t.Setenv("APP_ZIP", zipped)
	t.Setenv("DROPLET", received)
	programtest.Launch(t, ruby, filepath.Join(dir, "app.rb"), "-p", number, "-o", "127.0.0.1")
	base := "http://127.0.0.1:" + number
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, err := client.Get(base + "/")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}, patience, 20*time.Millisecond)

	s := newSite(t, nil)
	s.Says("Server running")
	a := answer(t, s.ask(request(base+"/download_unstaged_app/my-sinatra-app", base+"/upload_droplet/my-sinatra-app/upload_id")))
	require.Empty(t, a.Error, a.TaskLog)
	data, err := os.ReadFile(received)
	require.NoError(t, err)
	assert.Contains(t, stagetest.ReadTgz(t, data)["./startup"], "%VCAP_LOCAL_RUNTIME% app.rb $@")
	name, err := os.ReadFile(received + ".name")
	require.NoError(t, err)
	assert.Equal(t, "droplet.tgz", string(name))
}
