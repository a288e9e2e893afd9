package framework_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/framework"
)

// staged stages an app in a directory of its own.
func staged(t *testing.T, plugin string, app stagetest.Files, properties framework.Properties, opts framework.Options) string {
	t.Helper()
	dest := t.TempDir()
	_, err := framework.Stage(t.Context(), find(t, plugin), framework.Task{Source: app.Dir(t), Dest: dest, Properties: properties}, opts)
	require.NoError(t, err)
	return dest
}

func TestCommandsOfNodeApps(t *testing.T) {
	for name, test := range map[string]struct {
		app  stagetest.Files
		want string
	}{
		"start":                 {stagetest.Files{"package.json": `{"scripts": {"start": "node bin/app.js"}}`}, "bin/app.js"},
		"start without node":    {stagetest.Files{"package.json": `{"scripts": {"start": "app.js 1"}}`}, "app.js 1"},
		"blanks":                {stagetest.Files{"package.json": `{"scripts": {"start": "  node   app.js"}}`}, "app.js"},
		"no start":              {stagetest.Files{"package.json": `{"scripts": {"test": "x"}}`, "x.js": "x"}, "x.js"},
		"no scripts":            {stagetest.Files{"package.json": `{"scripts": []}`, "x.js": "x"}, "x.js"},
		"no object":             {stagetest.Files{"package.json": `[]`, "x.js": "x"}, "x.js"},
		"the last one of names": {stagetest.Files{"server.js": "x", "app.js": "x"}, "app.js"},
		"all names":             {stagetest.Files{"server.js": "x", "app.js": "x", "index.js": "x", "main.js": "x", "application.js": "x"}, "application.js"},
		"a name for a shell":    {stagetest.Files{"a b.js": "x"}, "'a b.js'"},
		"a name like an option": {stagetest.Files{"-e.js": "x"}, "./-e.js"},
	} {
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(filepath.Join(staged(t, "node", test.app, framework.Properties{}, framework.Options{Original: true}), "startup"))
			require.NoError(t, err)
			assert.Contains(t, string(script), "\n%VCAP_LOCAL_RUNTIME% $NODE_ARGS "+test.want+" $@ > ../logs/stdout.log")
		})
	}
}

func TestMemoryWhereNobodyTells(t *testing.T) {
	dir := staged(t, "php", stagetest.Files{"index.php": "x"}, framework.Properties{}, framework.Options{Original: true})
	script, err := os.ReadFile(filepath.Join(dir, "startup"))
	require.NoError(t, err)
	assert.Contains(t, string(script), "\nruby resources/generate_apache_conf $VCAP_APP_PORT $HOME $VCAP_SERVICES 512m\n")
}

// run runs a program in a droplet.
func run(t *testing.T, dir string, env []string, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTomcatOfTheMachine(t *testing.T) {
	needs.Tool(t, "ruby", "ruby")
	dir := staged(t, "java_web", stagetest.Files{"WEB-INF/web.xml": "<web-app/>"}, framework.Properties{}, framework.Options{})
	home := stagetest.Files{
		"bin/catalina.sh": "#!/bin/sh\necho \"$CATALINA_HOME $CATALINA_BASE $CATALINA_TMPDIR $CATALINA_OPTS $*\"; exec sleep 0\n",
		"etc/web.xml":     "<web-app/>", "conf/logging.properties": "x",
	}.Dir(t)

	out, err := run(t, dir, nil, "./startup")
	require.Error(t, err)
	assert.Equal(t, "Missing or invalid port (-p)\n", out)
	_, err = run(t, dir, []string{"CATALINA_HOME=" + home, "HTTP_PROXY=http://p.example:81", "NO_PROXY=a.b,.c,localhost"}, "./startup", "-p", "61001")
	require.NoError(t, err)
	real, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "logs/stdout.log"))
	require.NoError(t, err)
	assert.Equal(t, home+" "+real+"/tomcat "+real+"/tmp -Xms384m -Xmx384m -Djava.io.tmpdir="+real+"/tmp "+
		"-Dhttp.proxyHost=p.example -Dhttp.proxyPort=81 -Dhttp.nonProxyHosts=*.a.b|*.c|localhost -Dhttps.nonProxyHosts=*.a.b|*.c|localhost run\n", string(got))
	server, err := os.ReadFile(filepath.Join(dir, "tomcat/conf/server.xml"))
	require.NoError(t, err)
	assert.Contains(t, string(server), `<Server port="-1">`)
	assert.Contains(t, string(server), `<Connector port="61001" protocol="HTTP/1.1" connectionTimeout="20000"/>`)
	assert.FileExists(t, filepath.Join(dir, "tomcat/conf/web.xml"))
	assert.FileExists(t, filepath.Join(dir, "tomcat/conf/logging.properties"))

	_, err = run(t, dir, nil, "ruby", "resources/generate_server_xml", "1\"/>")
	require.Error(t, err, "that is no port")
}

func TestApacheConfiguration(t *testing.T) {
	needs.Tool(t, "ruby", "ruby")
	dir := staged(t, "php", stagetest.Files{"index.php": "x"}, framework.Properties{}, framework.Options{Original: true})
	for range 2 { // as when an instance is started again in the same place
		out, err := run(t, dir, nil, "/bin/sh", "-c", "ruby resources/generate_apache_conf 61001 /home/x $S 64m", "S")
		require.Error(t, err, out)
		out, err = run(t, dir, []string{`S={"a": "b c"}`}, "/bin/sh", "-c", "ruby resources/generate_apache_conf 61001 /home/x $S 64m")
		require.NoError(t, err, out)
	}
	for name, want := range map[string]string{
		"ports.conf":                "NameVirtualHost *:61001\nListen 61001\n",
		"php/memory.ini":            "memory_limit = 64m\n",
		"sites-enabled/000-default": `SetEnv VCAP_SERVICES "{\"a\": \"b c\"}"`,
		"envvars":                   "export APACHE_PID_FILE=/home/x/run.pid\n",
		"start.sh":                  "/usr/sbin/apache2 -d /home/x/apache -f /home/x/apache/apache2.conf -D FOREGROUND\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, "apache", name))
		require.NoError(t, err)
		assert.Contains(t, string(got), want, name)
	}
}

func TestBundlerOfTodayInstallsOffline(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	if exec.Command(ruby, "-S", "bundle", "--version").Run() != nil {
		needs.Skip(t, "Ruby has no Bundler on this machine: apt-get install bundler")
	}
	gem := t.TempDir()
	stagetest.Files{
		"hello.gemspec": "Gem::Specification.new { |s| s.name = 'hello'; s.version = '1.0'; s.summary = 'x'; s.authors = ['x']; s.files = ['lib/hello.rb'] }",
		"lib/hello.rb":  "HELLO = 'hello'\n",
	}.Write(t, gem)
	out, err := run(t, gem, []string{"HOME=" + gem}, ruby, "-S", "gem", "build", "hello.gemspec")
	require.NoError(t, err, out)
	built, err := os.ReadFile(filepath.Join(gem, "hello-1.0.gem"))
	require.NoError(t, err)
	abi, err := exec.Command(ruby, "-e", "print RbConfig::CONFIG['ruby_version']").Output()
	require.NoError(t, err)

	app := stagetest.Files{
		"app.rb": "require 'sinatra' if false\nrequire 'hello'\nputs HELLO\n", "Gemfile": "source 'https://rubygems.org'\ngem 'hello'\n",
		"Gemfile.lock":               "GEM\n  remote: https://rubygems.org/\n  specs:\n    hello (1.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  hello\n",
		"vendor/cache/hello-1.0.gem": string(built),
	}
	properties := framework.Properties{}
	properties.Runtime.Name, properties.Runtime.Executable = "ruby19", "ruby"
	dir, log, _, err := stageWith(t, app, framework.NewBuildpack(find(t, "sinatra"), properties, framework.BuildpackOptions{}))
	require.NoError(t, err, log)
	assert.DirExists(t, filepath.Join(dir, "app/rubygems/ruby", string(abi), "gems/hello-1.0"), log)
	_, err = run(t, dir, []string{"HOME=" + t.TempDir()}, "./startup")
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dir, "logs/stdout.log"))
	require.NoError(t, err)
	stderr, err := os.ReadFile(filepath.Join(dir, "logs/stderr.log"))
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(got), "%s", strings.TrimSpace(string(stderr)))
}

func TestJavaWebLeavesTheAppAsItIs(t *testing.T) {
	app := stagetest.Files{
		"WEB-INF/web.xml": "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<web-app><unclosed>", "WEB-INF/lib/a.jar": "jar", ".hidden": "x",
		"index.jsp": "x", "link -> index.jsp": "", "bin/run": "x",
	}
	dir := staged(t, "java_web", app, framework.Properties{}, framework.Options{})
	want := app.Dir(t)
	got := filepath.Join(dir, "tomcat/webapps/ROOT")
	assert.Equal(t, listing(t, want), listing(t, got))
	out, err := exec.Command("diff", "-r", want, got).CombinedOutput()
	require.NoError(t, err, string(out))
}
