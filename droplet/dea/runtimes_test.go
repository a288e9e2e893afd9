package dea_test

import (
	"crypto/sha1"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// stagedBy stages an app by a plugin and packs it as the stager of its time did: with tar, for whose members there are two forms
// of names.
func stagedBy(t *testing.T, plugin string, app stagetest.Files, members string) testapp.Droplet {
	t.Helper()
	source, dest := app.Dir(t), t.TempDir()
	found, err := framework.Find(plugin)
	require.NoError(t, err)
	_, err = framework.Stage(t.Context(), found, framework.Task{Source: source, Dest: dest}, framework.Options{})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "droplet.tgz")
	out, err := exec.Command("sh", "-c", `cd "$1" && tar -czf "$2" `+members, "sh", dest, file).CombinedOutput()
	require.NoError(t, err, string(out))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return testapp.Droplet{Path: file, SHA1: fmt.Sprintf("%x", sha1.Sum(data))}
}

// A droplet as the stager of 2012 uploaded it runs as it is, on a start message of that time.
func TestDropletOfTheFirstGeneration(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	if exec.Command(ruby, "-e", "require 'sinatra/base'; require 'webrick'").Run() != nil {
		needs.Skip(t, "Ruby has no Sinatra on this machine: apt-get install ruby-sinatra ruby-webrick")
	}
	for name, members := range map[string]string{"since 2012-12": ".", "before": "*"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := make(audience, 10000)
			w := newSurroundings(t)
			w.app = stagedBy(t, "sinatra", stagetest.Files{
				"app.rb":  "require 'sinatra'\nget('/') { puts 'asked'; \"#{ENV['VCAP_APP_PORT']} #{ENV['HOME']} #{File.read('.hidden')}\" }\n",
				".hidden": "kept",
			}, members)
			w.alter = func(p *dea.Parts) { p.Logs = lines }
			w.run(nil)
			w.start(w.startMessage("", func(m object) {
				m["framework"], m["runtime"] = "sinatra", "ruby19"
				m["runtime_info"] = object{"name": "ruby19", "executable": "ruby", "version": "1.9.3"}
				m["limits"] = object{"mem": 256, "disk": 256, "fds": 1024}
			}))
			route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
			response, err := http.Get(fmt.Sprintf("http://%s:%.0f/", route["host"], route["port"]))
			require.NoError(t, err)
			defer response.Body.Close()
			defer http.DefaultClient.CloseIdleConnections()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			s := w.dea.Instances()[0].Status()
			assert.Equal(t, fmt.Sprintf("%d %s kept", s.Port, s.Container.Inside(container.AppHome)), string(body))
			assert.True(t, s.Scripts)
			assert.Equal(t, applog.Stdout, lines.hears(t, "asked").Stream)
			w.publish("dea.stop", object{"droplet": "app-guid"})
			lines.hears(t, "Stopped app instance")
		})
	}
}

// People are told why an app has nothing that runs it.
func TestRuntimeThatIsNotThere(t *testing.T) {
	lines := make(audience, 10000)
	w := newSurroundings(t)
	w.app = testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\n%VCAP_LOCAL_RUNTIME% app.rb $@\n", "app/app.rb": ""})
	w.alter = func(p *dea.Parts) { p.Logs = lines }
	w.run(func(c *dea.Config) { c.Instance.Runtime = dea.Runtimes(runtimes.Catalogue{}, true) })
	w.start(w.startMessage("", func(m object) { m["runtime"] = "ruby19" }))
	assert.Contains(t, lines.hears(t, "App instance (index 0) cannot start: find the runtime of the app").Text,
		`runtime "ruby19": the runtime is not configured; there are none`)
	assert.Equal(t, "failed to start", w.await("droplet.exited", nil)["exit_description"])
	w.publish("dea.stop", object{"droplet": "app-guid"})
}

// checks is a runtime whose program is a shell, which answers what its checks want.
const checks = `
checked: {executable: sh, version_flag: "-c 'echo 1.9.2'", version_output: '^1\.9', additional_checks: "-c 'echo True'", aliases: [other],
  environment: {LANG_OF: 'x:$PATH', EMPTY: ~}}
unchecked: {executable: sh, version_flag: "-c 'echo 1.9.2'"}
denied: {executable: sh, version_flag: "-c 'echo 1.9.2'", version_output: '^1\.9', additional_checks: "-c 'echo no'"}
`

// Runtimes are looked for, and checked, in the container of the instance.
func TestRuntimesOfAContainer(t *testing.T) {
	catalogue, err := runtimes.ParseCatalogue([]byte(checks))
	require.NoError(t, err)
	c := stagetest.Container(t, container.Spec{})
	for _, test := range []struct {
		asked  string
		strict bool
		want   error // nil: it is found
		warns  string
	}{
		{`{"name":"checked"}`, true, nil, ""},
		{`"checked"`, true, nil, ""},
		{`"other"`, true, runtimes.ErrUnknown, ""},
		{`"other"`, false, nil, ""},
		{`"unchecked"`, true, runtimes.ErrCheck, ""},
		{`"unchecked"`, false, nil, "no version_output"},
		{`"denied"`, true, runtimes.ErrCheck, ""},
		{`"denied"`, false, nil, "not true"},
		{`{"name":"mine","executable":"/no/such/ruby"}`, false, runtimes.ErrNotInstalled, ""},
	} {
		found, err := dea.Runtimes(catalogue, test.strict)(t.Context(), c, []byte(test.asked))
		if test.want != nil {
			require.ErrorIs(t, err, test.want, test.asked)
			continue
		}
		require.NoError(t, err, test.asked)
		assert.Regexp(t, `^/.*/sh$`, found.Executable)
		assert.Contains(t, strings.Join(found.Warnings, "\n"), test.warns, test.asked)
	}
	found, err := dea.Runtimes(catalogue, true)(t.Context(), c, []byte(`"checked"`))
	require.NoError(t, err)
	assert.Equal(t, "checked", found.Name)
	require.Len(t, found.Env, 2)
	assert.Equal(t, "EMPTY=", found.Env[0].Name+"="+found.Env[0].Value)
	assert.Equal(t, "LANG_OF=x:$PATH", found.Env[1].Name+"="+found.Env[1].Value)
	_, err = dea.Runtimes(catalogue, false)(t.Context(), c, []byte(`[1]`))
	require.Error(t, err)
}
