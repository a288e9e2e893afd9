package framework

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEnvironmentOfScripts(t *testing.T) {
	assert.Equal(t, `export A="$B"
export B="1"
export TMPDIR="$PWD/tmp"
export a="x"
unset BUNDLE_GEMFILE
unset C`, environment(map[string]string{"a": "x", "B": "1", "A": "$B", "C": "not"}, []string{"C", "BUNDLE_GEMFILE"}))
	assert.Equal(t, `export TMPDIR="/mine"`, environment(map[string]string{"TMPDIR": "/mine"}, nil))
	assert.Equal(t, "unset TMPDIR", environment(nil, []string{"TMPDIR"}))
}

func TestStartupScripts(t *testing.T) {
	s := Startup{Unset: []string{"X"}, Hook: "one\n \n\t\n  two\n", Dir: "tomcat", Command: "first\n\nlast"}
	assert.Equal(t, `#!/bin/bash
export TMPDIR="$PWD/tmp"
unset X
one
  two
cd tomcat
first
last > ../logs/stdout.log 2> ../logs/stderr.log &
STARTED=$!
echo "$STARTED" >> ../run.pid
wait $STARTED
`, s.String())
	s.Format = F5
	assert.Equal(t, `#!/bin/bash
export TMPDIR="$PWD/tmp"
unset X
one
  two
DROPLET_BASE_DIR=$PWD
cd tomcat
(first
last) > $DROPLET_BASE_DIR/logs/stdout.log 2> $DROPLET_BASE_DIR/logs/stderr.log &
STARTED=$!
echo "$STARTED" >> $DROPLET_BASE_DIR/run.pid
wait $STARTED
`, s.String())
}

func TestLibraryVersion(t *testing.T) {
	for version, want := range map[string]string{
		"1.8.7p357": "1.8", "1.9.2p180": "1.9.1", "1.9.3": "1.9.1", "2.0.0": "2.0.0", "3.1.2": "3.1.0", "10.12": "10.12.0", "": "1.8", "x": "1.8",
	} {
		assert.Equal(t, want, rubyABI(version), version)
	}
}

func TestLockfile(t *testing.T) {
	l := parseLockfile([]byte("GIT\n  remote: git://x\n  specs:\n    thin (1.4.1)\n\nGEM\r\n  specs:\r\n    rack (1.4.1)\r\n" +
		"    nokogiri (1.5.5-x86-mingw32)\n      deep (1.0)\n    cf-runtime (0.0.2)\n\nDEPENDENCIES\n  sinatra (~> 1.3)\n    indented (1)\n"))
	assert.True(t, l.has("thin"))
	assert.True(t, l.has("cf-runtime"))
	assert.False(t, l.has("deep"), "what a gem depends on stands in the list by itself")
	assert.False(t, l.has("sinatra"))
	assert.Equal(t, []string{"rack-1.4.1", "nokogiri-1.5.5-x86-mingw32", "cf-runtime-0.0.2"}, l.files)
	assert.False(t, (*lockfile)(nil).has("rack"))
}

func FuzzLockfile(f *testing.F) {
	f.Add([]byte("GEM\n  specs:\n    ../../x (1)\n    a (../b)\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range parseLockfile(data).files {
			if strings.ContainsAny(file, "/\\ \n\x00") {
				t.Errorf("file %q", file)
			}
		}
	})
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{"3.0.9": false, "3.1": true, "3.2.8": true, "2.9": false, "10.0": true, "": false, "99999999999999999999.1": true} {
		assert.Equal(t, want, atLeast(version, 3, 1), version)
	}
}
