package platform_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging"
)

// A sample is an app of examples/apps that a framework stages.
type sample struct {
	app      string
	needs    func(*testing.T)
	settings controller.Settings
}

func needsRuby(library, aptPackage string) func(*testing.T) {
	return func(t *testing.T) {
		ruby := needs.Tool(t, "ruby", "ruby")
		if exec.Command(ruby, "-e", "require '"+library+"'; require 'webrick'").Run() != nil {
			needs.Skip(t, "Ruby has no "+library+" on this machine: apt-get install "+aptPackage+" ruby-webrick")
		}
	}
}

func needsTool(name, aptPackage string) func(*testing.T) {
	return func(t *testing.T) { needs.Tool(t, name, aptPackage) }
}

func needsTomcat(t *testing.T) {
	needs.Tool(t, "java", "openjdk-17-jre-headless")
	needs.Tool(t, "ruby", "ruby")
	if _, err := os.Stat("/usr/share/tomcat10/bin/catalina.sh"); err != nil {
		needs.Skip(t, "no Tomcat on this machine: apt-get install tomcat10")
	}
}

// samples name their apps as the framework, without what names of hosts cannot have.
var samples = map[string]sample{
	"sinatra":  {"sinatra", needsRuby("sinatra/base", "ruby-sinatra"), controller.Settings{}},
	"rack":     {"rack", needsRuby("rack", "ruby-rack"), controller.Settings{Runtime: "ruby193"}},
	"node":     {"node", needsTool("node", "nodejs"), controller.Settings{Runtime: "node08"}},
	"wsgi":     {"wsgi", needsTool("python3", "python3"), controller.Settings{}},
	"php":      {"php", needsTool("php", "php-cli"), controller.Settings{}},
	"java_web": {"java_web", needsTomcat, controller.Settings{MemoryMB: 512}},
	"standalone": {"python", needsTool("python3", "python3"), controller.Settings{
		Runtime: "python2", Command: "python3 app.py",
	}},
	"buildpack": {"procfile", needsTool("perl", "perl"), controller.Settings{}},
}

// greeted is what the samples log of a request for their greeting.
var greeted = regexp.MustCompile(`GET / .*200`)

// runSample takes an app through staging by a framework and a run by a DEA, and away again.
func runSample(t *testing.T, on *served, name string, it sample) {
	it.needs(t)
	s := &served{Client: on.Client, t: t}
	settings := it.settings
	settings.Name, settings.Framework = strings.ReplaceAll(name, "_", "-"), name
	require.NoError(t, s.push(filepath.Join("../../apps", it.app), settings))
	assert.Regexp(t, `^Hello from .+\ninstance index: 0\n$`, s.firstPage(settings.Name))
	page, err := s.FetchText(t.Context(), "http://"+settings.Name+"."+s.Info().Domain+"/health")
	require.NoError(t, err)
	assert.Equal(t, "ok\n", page)

	view, err := s.App(t.Context(), settings.Name)
	require.NoError(t, err)
	assert.Equal(t, name, view.Framework)
	require.Len(t, view.Instances, 1)
	assert.Empty(t, view.Silent)
	s.eventually("the app's lines are in its log", func() bool {
		for _, line := range s.logs(settings.Name) {
			if line.Source == applog.App && line.Stream == applog.Stdout && greeted.MatchString(line.Text) {
				return true
			}
		}
		return false
	})
	for file, want := range map[string]*regexp.Regexp{
		"logs/stdout.log": greeted, "logs/": regexp.MustCompile(`(?m)^staging(_task)?\.log `), "run.pid": regexp.MustCompile(`^\d+\n$`),
	} {
		url, err := s.FileURL(t.Context(), settings.Name, 0, file)
		require.NoError(t, err)
		text, err := s.FetchText(t.Context(), url)
		require.NoError(t, err, file)
		assert.Regexp(t, want, text, file)
	}
	require.NoError(t, s.Stop(t.Context(), settings.Name))
	s.eventually("it has stopped", func() bool {
		view, err := s.App(t.Context(), settings.Name)
		return err == nil && view.State == "STOPPED"
	})
	assert.NoError(t, s.Delete(t.Context(), settings.Name))
}

func TestEveryFrameworkThatRunsToday(t *testing.T) {
	s := serve(t)
	t.Run("at once", func(t *testing.T) { // returns when all have ended
		for name, it := range samples {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				runSample(t, s, name, it)
			})
		}
	})
}

// In containers with users and networks of their own, the scripts do the same.
func TestFrameworksOnRunc(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	s := serveOn(t, backends.Runc)
	t.Run("at once", func(t *testing.T) {
		for _, name := range []string{"sinatra", "php", "java_web"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				runSample(t, s, name, samples[name])
			})
		}
	})
}

func TestFrameworkThatDoesNotFit(t *testing.T) {
	s := serve(t)
	var failure *client.PushError
	require.ErrorAs(t, s.push("../../apps/static", controller.Settings{Name: "app", Framework: "sinatra"}), &failure)
	assert.Equal(t, "staging", failure.Kind)
	assert.ErrorContains(t, failure, "Unable to determine Sinatra startup command")

	// A push that goes back to buildpacks leaves nothing of the framework.
	needs.Tool(t, "perl", "perl")
	require.NoError(t, s.push("../../apps/procfile", controller.Settings{Name: "app", Framework: controller.Default, Runtime: controller.Default}))
	view, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	assert.Empty(t, view.Framework)
	assert.Equal(t, messaging.Running, view.Instances[0].State)
}
