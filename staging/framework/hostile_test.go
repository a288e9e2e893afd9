package framework_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// interesting are the files that plugins read, write or replace.
var interesting = []string{
	"Gemfile", "Gemfile.lock", ".bundle/config", "vendor/cache/rack-1.4.1.gem", "vendor/plugins/configure_assets/init.rb",
	"config/cloudfoundry.yml", "config/database.yml", "config/environment.rb", "cf-rails-console/.consoleaccess", "config.ru", "app.rb",
	"package.json", "cloudfoundry.json", "npm-shrinkwrap.json", "autoconfig.js", "app.js", "node_modules/cf-autoconfig/package.json",
	"WEB-INF/web.xml", "WEB-INF/grails.xml", "WEB-INF/lib/auto-reconfiguration-0.6.5.jar", "index.php", "requirements.txt", "wsgi.py", "manage.py",
	"dist/start", "dist/lib/play.x.jar", "releases/start_erl.data", "releases/1/x.rel", "bin/x", "etc/vm.args", "etc/vmc.args", "lib/kernel-2.14.3",
}

// stageHostile stages an app with every plugin, and checks that what is outside stays as it is.
func stageHostile(t *testing.T, make func(t *testing.T, outside, source string)) {
	t.Helper()
	resources := stagetest.Files{
		"auto-reconfiguration-0.6.5.jar": "jar", "mysql-connector-java-5.jar": "jar", "cf-autoconfig-0.0.4.gem": "gem", "cf-runtime-0.0.2.gem": "gem",
		"node_modules/cf-autoconfig/package.json": "{}", "cf-rails-console/x": "x", "rack-1.4.1.gem": "gem",
	}.Dir(t)
	outside, source := t.TempDir(), t.TempDir()
	for _, name := range interesting {
		stagetest.Files{name: "GEM\n  specs:\n    rack (1.4.1)\n"}.Write(t, outside)
	}
	make(t, outside, source)
	before := [2]string{listing(t, outside), listing(t, source)}
	for _, plugin := range framework.Plugins() {
		for _, original := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", plugin.Name(), original), func(t *testing.T) {
				task := framework.Task{Source: source, Dest: t.TempDir(), Properties: framework.Properties{
					Command: "x", Runtime: runtimes.Runtime{Name: "ruby", Executable: "/opt/x/bin/x", Version: "R14B02"},
					Services: []framework.Service{{Label: "mysql-5", Credentials: &framework.Credentials{Password: "secret"}}},
				}}
				opts := framework.Options{Original: original, Resources: resources, Gems: resources}
				_, err := framework.Stage(t.Context(), plugin, task, opts)
				var wrong *framework.AppError
				if err != nil {
					assert.ErrorAs(t, err, &wrong, "the app is to blame")
				}
				assert.Equal(t, before, [2]string{listing(t, outside), listing(t, source)})
			})
		}
	}
	for _, name := range interesting {
		content, err := os.ReadFile(filepath.Join(outside, name))
		require.NoError(t, err)
		assert.Equal(t, "GEM\n  specs:\n    rack (1.4.1)\n", string(content), name)
	}
}

func TestLinksThatLeadOut(t *testing.T) {
	t.Run("of files", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, outside, source string) {
			for _, name := range interesting {
				stagetest.Files{name + " -> " + filepath.Join(outside, name): ""}.Write(t, source)
			}
		})
	})
	t.Run("of directories", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, outside, source string) {
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			for _, entry := range entries {
				require.NoError(t, os.Symlink(filepath.Join(outside, entry.Name()), filepath.Join(source, entry.Name())))
			}
		})
	})
	t.Run("up", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, outside, source string) {
			for _, name := range interesting {
				up := strings.Repeat("../", 20)
				stagetest.Files{name + " -> " + up + filepath.Join(outside, name): ""}.Write(t, source)
			}
		})
	})
	t.Run("within the droplet", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, _, source string) {
			for _, name := range interesting {
				stagetest.Files{name + " -> " + filepath.Base(name): ""}.Write(t, source) // to itself
			}
		})
	})
}

func TestStrangeFiles(t *testing.T) {
	t.Run("FIFOs", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, _, source string) {
			for _, name := range interesting {
				require.NoError(t, os.MkdirAll(filepath.Join(source, filepath.Dir(name)), 0o755))
				require.NoError(t, unix.Mkfifo(filepath.Join(source, name), 0o600))
			}
		})
	})
	t.Run("directories", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, _, source string) {
			for _, name := range interesting {
				require.NoError(t, os.MkdirAll(filepath.Join(source, name, "x"), 0o755))
			}
		})
	})
	t.Run("garbage", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, _, source string) {
			for _, name := range interesting {
				stagetest.Files{name: "\x00\xff{[<&\n\t%YAML"}.Write(t, source)
			}
		})
	})
	t.Run("large files", func(t *testing.T) {
		stageHostile(t, func(t *testing.T, _, source string) {
			for _, name := range []string{"app.rb", "Gemfile.lock", "package.json", "WEB-INF/web.xml", "dist/start", "etc/vm.args"} {
				stagetest.Files{name: ""}.Write(t, source)
				require.NoError(t, os.Truncate(filepath.Join(source, name), 5<<20))
			}
		})
	})
}

func TestAppsThatAreTooLarge(t *testing.T) {
	source := stagetest.Files{"a": "x", "b": "x", "c": "x"}.Dir(t)
	task := framework.Task{Source: source, Dest: t.TempDir(), Properties: framework.Properties{Command: "x"}}
	_, err := framework.Stage(t.Context(), find(t, "standalone"), task, framework.Options{Limits: droplet.Limits{MaxMembers: 3}})
	require.ErrorIs(t, err, droplet.ErrLimit)
	var wrong *framework.AppError
	require.ErrorAs(t, err, &wrong)
}

func TestStagingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	task := framework.Task{Source: stagetest.Files{"a": "x"}.Dir(t), Dest: t.TempDir(), Properties: framework.Properties{Command: "x"}}
	_, err := framework.Stage(ctx, find(t, "standalone"), task, framework.Options{})
	require.ErrorIs(t, err, context.Canceled)
	assert.FileExists(t, filepath.Join(task.Dest, "logs/staging.log"))
	assert.NoFileExists(t, filepath.Join(task.Dest, "startup"))
}

func TestBind(t *testing.T) {
	dir := t.TempDir()
	require.Error(t, framework.Bind(dir, "/usr/bin/ruby"), "there is no script")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "startup"), []byte("%VCAP_LOCAL_RUNTIME% a %VCAP_LOCAL_RUNTIME%\n"), 0o500))
	require.Error(t, framework.Bind(dir, "ruby"), "a name is no path")
	require.NoError(t, framework.Bind(dir, "/opt/my ruby"))
	text, err := os.ReadFile(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.Equal(t, "'/opt/my ruby' a '/opt/my ruby'\n", string(text))
	before, err := os.Stat(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	require.NoError(t, framework.Bind(dir, "/usr/bin/ruby"))
	after, err := os.Stat(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after), "a script without a placeholder is not written again")
	require.NoError(t, os.Remove(filepath.Join(dir, "startup")))
	outside := stagetest.Save(t, []byte("%VCAP_LOCAL_RUNTIME%"))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "startup")))
	require.Error(t, framework.Bind(dir, "/usr/bin/ruby"), "a link that leads out")
	text, err = os.ReadFile(outside)
	require.NoError(t, err)
	assert.Equal(t, "%VCAP_LOCAL_RUNTIME%", string(text))
}

// Rules that look at many files again and again end with their context.
func TestSearchEndsWithItsContext(t *testing.T) {
	source := t.TempDir()
	stagetest.Files{"d/d/x1.rb": "x", "d/x2.rb": "x"}.Write(t, source)
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("the time is over")
	var detection framework.Rules
	for i := range 3 {
		detection = append(detection, framework.Rule{Glob: fmt.Sprintf("**/**/**/*%d*", i), Pattern: "x"})
	}
	task := framework.Task{Source: source, Dest: t.TempDir(), Properties: framework.Properties{Detection: detection}}
	opts := framework.Options{Log: endWith{func() { cancel(over) }}}
	sinatra, err := framework.Find("sinatra")
	require.NoError(t, err)
	_, err = framework.Stage(ctx, sinatra, task, opts)
	require.ErrorIs(t, err, over)
	var wrong *framework.AppError
	assert.NotErrorAs(t, err, &wrong, "the app is not to blame")
}

// endWith calls a function when something is written.
type endWith struct{ do func() }

func (w endWith) Write(p []byte) (int, error) { w.do(); return len(p), nil }
