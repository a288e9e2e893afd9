package framework_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// articleConfig is the configuration file of "DIY PaaS – staging an app", with the directories as placeholders.
const articleConfig = `source_dir: 'SOURCE'
dest_dir: 'DEST'
environment:
  services: []
  framework_info:
    name: sinatra
    runtimes:
      - ruby18:
          default: true
      - ruby19:
          default: false
    detection:
      - "*.rb": "\\s*require[\\s\\(]*['\"]sinatra(/base)?['\"]" # .rb files in the root dir containing a require?
      - config/environment.rb: false # and config/environment.rb must not exist
  runtime_info:
    name: 'ruby19'
    executable: 'ruby'
    version: '1.9.3'
  resources:
    memory: 256
    disk: 256
    fds: 1024
`

// articleStartup is the script that the article prints. Its web site took "$@ > .." for an address and wrote
// "[email protected]" there.
const articleStartup = `#!/bin/bash
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
`

func TestArticle(t *testing.T) {
	source := stagetest.Files{"app.rb": "require 'sinatra'\n", "README.md": "x"}.Dir(t)
	dest := t.TempDir()
	config, err := framework.ParseConfig([]byte(strings.NewReplacer("SOURCE", source, "DEST", dest).Replace(articleConfig)))
	require.NoError(t, err)
	assert.Equal(t, -1, config.UID)
	plugin, err := framework.Find(config.Properties.Framework)
	require.NoError(t, err)
	task := framework.Task{Source: config.Source, Dest: config.Dest, Properties: config.Properties}
	result, err := framework.Stage(t.Context(), plugin, task, framework.Options{})
	require.NoError(t, err)
	assert.Empty(t, result.Programs)
	for name, want := range map[string]string{
		"startup": articleStartup,
		"stop": "#!/bin/bash\nexport TMPDIR=\"$PWD/tmp\"\nAPP_PID=$1\nAPP_PPID=`ps -o ppid= -p $APP_PID`\n" +
			"kill -9 $APP_PID\nkill -9 $APP_PPID\n",
		"logs/staging.log": "Auto-reconfiguration disabled because app does not use Bundler.\n" +
			"Please provide a Gemfile.lock to use auto-reconfiguration.\n",
	} {
		got, err := os.ReadFile(dest + "/" + name)
		require.NoError(t, err)
		assert.Equal(t, want, string(got), name)
	}
	for _, name := range []string{"startup", "stop"} {
		info, err := os.Stat(dest + "/" + name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o500), info.Mode(), name)
	}
}

func TestArguments(t *testing.T) {
	plugin := find(t, "standalone")
	file := stagetest.Save(t, nil)
	full := stagetest.Files{"startup": "x"}.Dir(t)
	for _, task := range []framework.Task{
		{Source: t.TempDir(), Dest: full},
		{Source: t.TempDir(), Dest: t.TempDir() + "/absent"}, {Source: t.TempDir() + "/absent", Dest: t.TempDir()},
		{Source: t.TempDir(), Dest: file}, {},
	} {
		_, err := framework.Stage(t.Context(), plugin, task, framework.Options{})
		require.ErrorIs(t, err, framework.ErrArguments)
		assert.ErrorContains(t, err, "Invalid arguments for staging:")
	}
	for _, key := range []string{"source_dir: 'SOURCE'\n", "dest_dir: 'DEST'\n"} {
		_, err := framework.ParseConfig([]byte(strings.Replace(articleConfig, key, "", 1)))
		require.ErrorIs(t, err, framework.ErrArguments)
	}
	_, err := framework.ParseConfig([]byte("source_dir: a\ndest_dir: b\n"))
	require.ErrorIs(t, err, framework.ErrArguments)
	_, err = framework.ParseConfig([]byte(articleConfig + "secure_user: {gid: 1}\n"))
	require.ErrorContains(t, err, "secure_user.uid")
	config, err := framework.ParseConfig([]byte(articleConfig + "secure_user: {uid: 23001, gid: 100}\n"))
	require.NoError(t, err)
	assert.Equal(t, []int{23001, 100}, []int{config.UID, config.GID})
	platform, err := framework.ParsePlatform([]byte("---\ncache: /tmp/.vcap_gems\ninsight_agent: /x.zip\n"))
	require.NoError(t, err)
	assert.Equal(t, framework.Platform{Cache: "/tmp/.vcap_gems", InsightAgent: "/x.zip"}, platform)
}

const fullProperties = `{"name": "guestbook",
 "services": [{"label": "mysql-5.1", "name": "db", "tags": {}, "plan_options": {}, "credentials": {"hostname": "h", "port": 3306,
   "user": "u", "password": "p", "name": "d"}}, {}],
 "environment": ["GREETING=hi"], "framework": "rack", "runtime": "ruby18",
 "framework_info": {"name": "sinatra", "runtimes": [{"ruby18": {"default": true}}],
   "detection": [{"*.rb": "require", "config/environment.rb": false, "x": true}]},
 "runtime_info": {"name": "ruby19", "executable": "ruby", "version": "1.9.3"},
 "resources": {"memory": 256, "disk": 255, "fds": 1024}, "meta": {"command": "ruby x.rb", "debug": null},
 "buildpack": "http://example.com/x.git", "async": null}`

func TestParseProperties(t *testing.T) {
	p, err := framework.ParseProperties([]byte(fullProperties))
	require.NoError(t, err)
	assert.Equal(t, framework.Properties{
		Name: "guestbook", Framework: "sinatra",
		Detection: framework.Rules{
			{Glob: "*.rb", Pattern: "require"}, {Glob: "config/environment.rb"}, {Glob: "x", Present: true},
		},
		Runtime: runtimes.Runtime{Name: "ruby19", Executable: "ruby", Version: "1.9.3"},
		Services: []framework.Service{
			{Label: "mysql-5.1", Name: "db", Credentials: &framework.Credentials{Hostname: "h", Port: "3306", User: "u", Password: "p", Name: "d"}}, {},
		},
		Resources:   framework.Resources{MemoryMB: 256, DiskMB: 255, FDs: 1024},
		Environment: []string{"GREETING=hi"}, Command: "ruby x.rb", Buildpack: "http://example.com/x.git",
	}, p)

	p, err = framework.ParseProperties([]byte(`{"framework": "rack", "runtime": "ruby18", "environment": {"A": 1},
		"resources": {"memory": 1, "disk": 2, "fds": 3}, "services": null}`))
	require.NoError(t, err)
	assert.Equal(t, framework.Properties{
		Framework: "rack", Runtime: runtimes.Runtime{Name: "ruby18"}, Environment: []string{"A=1"},
		Resources: framework.Resources{MemoryMB: 1, DiskMB: 2, FDs: 3},
	}, p, "of the time before framework_info")
}

// What is missing is told at once, and what does in its place.
func TestAllThatIsMissing(t *testing.T) {
	_, err := framework.ParseProperties([]byte(`{"resources": {"disk": 2}}`))
	require.ErrorIs(t, err, framework.ErrProperties)
	assert.ErrorContains(t, err, "framework_info.name is missing (or framework); runtime_info is missing (or runtime, its name); "+
		"resources.memory is missing, or no integer; resources.fds is missing, or no integer")
}

func TestRefusedProperties(t *testing.T) {
	for name, test := range map[string]struct{ from, to, text string }{
		"no object":         {fullProperties, "[]", "they are missing, or no map"},
		"nothing":           {fullProperties, "null", "they are missing, or no map"},
		"no JSON":           {fullProperties, `{"a`, ""},
		"no framework":      {`"name": "sinatra",`, ``, ""},
		"no runtime":        {`"runtime_info"`, `"other"`, ""},
		"no fds":            {`, "fds": 1024`, ``, "resources.fds is missing, or no integer"},
		"memory as text":    {`"memory": 256`, `"memory": "256"`, "resources.memory is missing, or no integer"},
		"memory as float":   {`"memory": 256`, `"memory": 2.5`, "resources.memory"},
		"negative memory":   {`"memory": 256`, `"memory": -1`, "resources.memory"},
		"no resources":      {`"resources"`, `"other"`, "resources.memory"},
		"services as text":  {`"tags": {}`, `"tags": {}`, ""},
		"detection as text": {`[{"*.rb": "require", "config/environment.rb": false, "x": true}]`, `"x"`, "detection is no list"},
		"rule as text":      {`[{"*.rb": "require", "config/environment.rb": false, "x": true}]`, `["x"]`, "an element of detection is no map"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(fullProperties, test.from, test.to, 1)
			switch name {
			case "no framework":
				text = strings.Replace(text, `"framework": "rack",`, "", 1)
			case "no runtime":
				text = strings.Replace(text, `"runtime": "ruby18",`, "", 1)
			case "services as text":
				text = `{"services": "x", "framework": "rack", "runtime": "r", "resources": {"memory": 1, "disk": 2, "fds": 3}}`
			}
			_, err := framework.ParseProperties([]byte(text))
			require.ErrorIs(t, err, framework.ErrProperties)
			assert.ErrorContains(t, err, test.text)
			assert.NotContains(t, err.Error(), `"p"`, "no credentials")
		})
	}
}

func TestFind(t *testing.T) {
	for _, plugin := range framework.Plugins() {
		found, err := framework.Find(plugin.Name())
		require.NoError(t, err)
		assert.Equal(t, plugin, found)
	}
	for _, name := range []string{"", "../sinatra", "sinatra; rm -rf /", "Sinatra", "cobol", strings.Repeat("x", 1000)} {
		_, err := framework.Find(name)
		require.ErrorIs(t, err, framework.ErrUnknown, name)
		assert.Less(t, len(err.Error()), 400)
	}
	_, err := framework.Find("Sinatra")
	require.ErrorContains(t, err, "names are in lower case")
	_, err = framework.Find("cobol")
	require.ErrorContains(t, err, "buildpack django ")
	_, err = framework.Find("buildpack")
	require.ErrorIs(t, err, framework.ErrBuildpack)
}

func FuzzParseProperties(f *testing.F) {
	f.Add([]byte(fullProperties))
	f.Add([]byte(articleConfig))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := framework.ParseProperties(data)
		if err == nil && (p.Framework == "" || p.Resources.MemoryMB < 0) {
			t.Errorf("accepted: %+v", p)
		}
		if err != nil && !errors.Is(err, framework.ErrProperties) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}
