package compile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/internal/needs"
)

const script = `set -e
echo "in $PWD with $(ls | tr '\n' ' ')"
ruby=$(dirname "$BOSH_INSTALL_TARGET")/ruby
mkdir -p "$BOSH_INSTALL_TARGET/bin"
"$ruby/bin/ruby" >"$BOSH_INSTALL_TARGET/bin/made"
chmod 750 "$BOSH_INSTALL_TARGET/bin/made"
ln -s made "$BOSH_INSTALL_TARGET/bin/link"
echo "$BOSH_COMPILE_TARGET $BOSH_INSTALL_TARGET $BOSH_PACKAGE_NAME $BOSH_PACKAGE_VERSION" >"$BOSH_INSTALL_TARGET/vars"
env | cut -d= -f1 | sort >"$BOSH_INSTALL_TARGET/env"
`

func TestCompile(t *testing.T) {
	t.Setenv("AGENT_SECRET", "hidden")
	m := newMachine(t)
	m.Config.Env = []string{"EXTRA=1"}
	m.restart()
	deps := compile.Dependencies{"ruby": m.dependency("ruby")}
	result, err := m.Compile(t.Context(), "source", m.source(script), "app", "7.1", deps)
	require.NoError(t, err)
	data, err := json.Marshal(result)
	require.NoError(t, err)
	assert.JSONEq(t, fmt.Sprintf(`{"result":{"blobstore_id":%q,"sha1":%q}}`, result.Compiled.BlobID, result.Compiled.SHA1), string(data))

	archive := m.blobs.Blob(result.Compiled.BlobID)
	d, err := digest.Parse(result.Compiled.SHA1)
	require.NoError(t, err)
	require.NoError(t, d.Verify(bytes.NewReader(archive)))
	names, files := blobtest.Read(t, archive)
	assert.Equal(t, []string{"./", "./env", "./vars", "./bin/", "./bin/link", "./bin/made"}, names)
	assert.Equal(t, "I am ruby\n", files["./bin/made"])
	assert.Equal(t, fmt.Sprintf("%[1]s/data/compile/app %[1]s/packages/app app 7.1\n", m.base), files["./vars"])
	vars := strings.Fields(files["./env"])
	assert.Subset(t, vars, []string{"BOSH_COMPILE_TARGET", "EXTRA", "HOME", "PATH", "TMPDIR"})
	assert.NotContains(t, vars, "AGENT_SECRET")
	assert.Contains(t, m.log("stdout"), "in "+m.base+"/data/compile/app with packaging src")
	assert.Contains(t, m.log("stderr"), "+ mkdir -p", "bash tells what it does")
	m.nothing()
}

func TestPackageWithoutScript(t *testing.T) {
	m := newMachine(t)
	sha1 := m.blobs.Add("source", blobtest.Tgz(t, "", blobtest.Files{"README": "x"}))
	result, err := m.Compile(t.Context(), "source", sha1, "app", "1", nil)
	require.NoError(t, err)
	names, _ := blobtest.Read(t, m.blobs.Blob(result.Compiled.BlobID))
	assert.Equal(t, []string{"./"}, names)
	m.nothing()
}

// TestArchiveIsAsTheSource: what came uncompressed goes back so, and what is equal is equal byte for byte.
func TestArchiveIsAsTheSource(t *testing.T) {
	m := newMachine(t)
	files := blobtest.Files{"packaging": `echo x >$BOSH_INSTALL_TARGET/x; touch -d @1000000000 $BOSH_INSTALL_TARGET/x $BOSH_INSTALL_TARGET`}
	for _, source := range [][]byte{blobtest.Tar(t, "", files), blobtest.Tgz(t, "", files)} {
		sha1 := m.blobs.Add("source", source)
		var archives [2][]byte
		for i := range archives {
			result, err := m.Compile(t.Context(), "source", sha1, "app", "1", nil)
			require.NoError(t, err)
			archives[i] = m.blobs.Blob(result.Compiled.BlobID)
		}
		assert.Equal(t, archives[0], archives[1])
		assert.Equal(t, bytes.HasPrefix(source, []byte{0x1f, 0x8b}), bytes.HasPrefix(archives[0], []byte{0x1f, 0x8b}))
		names, _ := blobtest.Read(t, archives[0])
		assert.Equal(t, []string{"./", "./x"}, names)
	}
}

func TestSignedURLs(t *testing.T) {
	m := newMachine(t)
	sha1 := m.blobs.Add("https://get", blobtest.Tgz(t, "", blobtest.Files{"packaging": "touch $BOSH_INSTALL_TARGET/x"}))
	dep := m.dependency("lib")
	m.blobs.Add("https://dep", m.blobs.Blob(dep.BlobID))
	text := fmt.Sprintf(`{"package_get_signed_url":"https://get","upload_signed_url":"https://put","digest":%q,"name":"app","version":"2",
		"deps":{"lib":{"name":"lib","version":"1","sha1":%q,"blobstore_id":"not asked","package_get_signed_url":"https://dep","blobstore_headers":{"d":"e"}}},
		"blobstore_headers":{"h":"v"}}`, sha1, dep.SHA1)
	var request compile.SignedRequest
	require.NoError(t, json.Unmarshal([]byte(text), &request))
	result, err := m.CompileSigned(t.Context(), request)
	require.NoError(t, err)
	data, err := json.Marshal(result)
	require.NoError(t, err)
	assert.Regexp(t, `^{"result":{"sha1":"[0-9a-f]{40};sha512:[0-9a-f]{128}"}}$`, string(data))
	d, err := digest.Parse(result.Compiled.SHA1)
	require.NoError(t, err)
	require.NoError(t, d.Verify(bytes.NewReader(m.blobs.Blob("https://put"))))
	for _, url := range []string{"https://get", "https://put"} {
		assert.Equal(t, map[string]string{"h": "v"}, m.blobs.Headers(url))
	}
	assert.Equal(t, map[string]string{"d": "e"}, m.blobs.Headers("https://dep"))

	request.PutURL = ""
	_, err = m.CompileSigned(t.Context(), request)
	require.ErrorContains(t, err, "upload_signed_url")
	request.GetURL = ""
	_, err = m.CompileSigned(t.Context(), request)
	require.ErrorContains(t, err, "No blobstore reference for package 'app'")
}

func TestScriptFails(t *testing.T) {
	m := newMachine(t)
	_, err := m.Compile(t.Context(), "source", m.source("echo out; echo error >&2; touch $BOSH_INSTALL_TARGET/x; exit 3"), "app", "1",
		compile.Dependencies{"ruby": m.dependency("ruby")})
	var failed *compile.ScriptError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, 3, failed.Status)
	assert.Regexp(t, `^Compiling package app: Running packaging script: Running packaging script: Command exited with 3; Stdout: out\n, Stderr: \+ echo out\n`, err.Error())
	assert.Contains(t, err.Error(), "+ exit 3")
	m.nothing()

	_, err = m.Compile(t.Context(), "source", m.source("set +x 2>&-; exec 2>&-; for i in $(seq 5000); do echo line $i; done; kill -9 $$"), "app", "1", nil)
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, 137, failed.Status)
	assert.Contains(t, err.Error(), "; Truncated stdout: line ")
	assert.True(t, strings.HasPrefix(failed.Stdout.Text, "line "), "it begins with a line")
	assert.True(t, strings.HasSuffix(failed.Stdout.Text, "line 5000\n"))
	assert.LessOrEqual(t, len(failed.Stdout.Text), 10240)
	assert.Greater(t, len(failed.Stdout.Text), 10000)
	assert.Contains(t, failed.ShortError(), "Truncated stdout: line 4901\n")
	assert.Less(t, len(failed.ShortError()), 2000)

	_, err = m.Compile(t.Context(), "source", m.source("printf %020000d 7; exit 1"), "app", "1", nil)
	require.ErrorAs(t, err, &failed)
	assert.Len(t, failed.Stdout.Text, 10240, "a line that has no end is not left out")
	m.nothing()
}

func TestRefusals(t *testing.T) {
	m := newMachine(t)
	good := m.source("true")
	for name, test := range map[string]struct {
		blob, sha1, name, version, want string
		deps                            compile.Dependencies
	}{
		"wrong digest":          {"source", strings.Repeat("0", 40), "app", "1", "Expected stream to have digest '0000000000000000000000000000000000000000' but was '" + good + "'", nil},
		"unknown blob":          {"gone", good, "app", "1", "Not Found", nil},
		"no blob":               {"", good, "app", "1", "No blobstore reference for package 'app'", nil},
		"no digest":             {"source", "", "app", "1", "no digest algorithm found", nil},
		"name":                  {"source", good, "../app", "1", "package name", nil},
		"name of a directory":   {"source", good, "..", "1", "package name", nil},
		"version":               {"source", good, "app", "../../1", "version", nil},
		"no version":            {"source", good, "app", "", "version", nil},
		"name of a dependency":  {"source", good, "app", "1", "package name", compile.Dependencies{"../x": m.dependency("../x")}},
		"depends on itself":     {"source", good, "app", "1", "is package 'app'", compile.Dependencies{"app": m.dependency("app")}},
		"called otherwise":      {"source", good, "app", "1", "is package 'b'", compile.Dependencies{"a": m.dependency("b")}},
		"dependency is missing": {"source", good, "app", "1", "installing package 'b'", compile.Dependencies{"b": {Version: "1", SHA1: good, BlobID: "gone"}}},
	} {
		_, err := m.Compile(t.Context(), test.blob, test.sha1, test.name, compile.Version(test.version), test.deps)
		require.ErrorContains(t, err, test.want, name)
		m.nothing()
	}
	for name, archive := range map[string][]byte{
		"no archive": []byte("not found"),
		"cut":        blobtest.Tgz(t, "", blobtest.Files{"packaging": "true"})[:60],
		"hostile":    blobtest.Tgz(t, "", blobtest.Files{"packaging": "true", "x/../../../../y": "z"}),
		"no file":    blobtest.Tgz(t, "", blobtest.Files{"packaging/": ""}),
	} {
		_, err := m.Compile(t.Context(), "bad", m.blobs.Add("bad", archive), "app", "1", nil)
		require.Error(t, err, name)
		m.nothing()
	}
}

func TestNoPlaceForTheResult(t *testing.T) {
	m := newMachine(t)
	m.blobs.Full = errors.New("blobstore is full")
	_, err := m.Compile(t.Context(), "source", m.source("true"), "app", "1", compile.Dependencies{"ruby": m.dependency("ruby")})
	require.ErrorIs(t, err, m.blobs.Full)
	assert.ErrorContains(t, err, "Compiling package app: Uploading compiled package")
	m.nothing()
}

func TestFullDisk(t *testing.T) {
	m := newMachine(t)
	m.Config.MaxUsed = 1
	m.restart()
	_, err := m.Compile(t.Context(), "source", m.source("true"), "app", "1", nil)
	require.ErrorContains(t, err, "Greater than 1% is used")
	m.nothing()
}

func TestCancel(t *testing.T) {
	m := newMachine(t)
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("cancelled by somebody")
	done := make(chan error)
	go func() {
		_, err := m.Compile(ctx, "source", m.source("trap '' TERM; sleep 1000 & touch "+ready+"; while :; do sleep 1000; done"), "app", "1",
			compile.Dependencies{"ruby": m.dependency("ruby")})
		done <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(ready); return err == nil }, 10*time.Second, time.Millisecond)
	waiting, giveUp := context.WithCancel(t.Context())
	giveUp()
	_, err := m.Compile(waiting, "source", m.source("true"), "other", "1", nil)
	require.ErrorIs(t, err, context.Canceled, "one at a time; who waits can give up")
	cancel(why)
	require.ErrorIs(t, <-done, why)
	m.nothing()
}

// TestWhoLeavesTheGroupIsFound: what a script leaves in a session of its own would write into the next package.
func TestWhoLeavesTheGroupIsFound(t *testing.T) {
	needs.Tool(t, "setsid", "util-linux")
	m := newMachine(t)
	pids := filepath.Join(t.TempDir(), "pids")
	_, err := m.Compile(t.Context(), "source", m.source("setsid sleep 1000 & setsid bash -c 'echo $$ >"+pids+"; sleep 1000' & while ! [ -s "+pids+" ]; do :; done"), "app", "1", nil)
	require.NoError(t, err)
	pid, err := os.ReadFile(pids)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 10*time.Second, time.Millisecond)
}

func TestLooseArguments(t *testing.T) {
	for text, want := range map[string]int{`{}`: 0, `[]`: 0, ` [ ] `: 0, `null`: 0, `{"a":{"name":"a"}}`: 1} {
		var deps compile.Dependencies
		require.NoError(t, json.Unmarshal([]byte(text), &deps), text)
		assert.Len(t, deps, want)
	}
	require.Error(t, json.Unmarshal([]byte(`[1]`), new(compile.Dependencies)))
	for text, want := range map[string]compile.Version{`"1.2"`: "1.2", `1.20`: "1.20", `7`: "7"} {
		var v compile.Version
		require.NoError(t, json.Unmarshal([]byte(text), &v), text)
		assert.Equal(t, want, v)
	}
	require.Error(t, json.Unmarshal([]byte(`{}`), new(compile.Version)))
	_, err := compile.New(compile.Config{})
	require.Error(t, err)
}

// TestInstalledJobsKeepTheirPackages: the original removes them.
func TestInstalledJobsKeepTheirPackages(t *testing.T) {
	m := newMachine(t)
	state := installed(t, m.base, m.blobs)
	before := state()
	deps := compile.Dependencies{"q": m.dependency("q"), "r": m.dependency("r")}
	const script = `$(dirname $BOSH_INSTALL_TARGET)/r/bin/r >$BOSH_INSTALL_TARGET/out; `
	result, err := m.Compile(t.Context(), "source", m.source(script), "p", "2", deps)
	require.NoError(t, err)
	_, files := blobtest.Read(t, m.blobs.Blob(result.Compiled.BlobID))
	assert.Equal(t, "I am r\n", files["./out"], "the dependency, not what is installed")
	assert.Equal(t, before, state())
	_, err = m.Compile(t.Context(), "source", m.source(script+"exit 1"), "p", "2", deps)
	require.Error(t, err)
	assert.Equal(t, before, state())
}

// TestScriptThatReplacesLinks: many begin with rm -rf of what they install to, which is a link, and no later compilation or
// installation may stumble over what they make in its place.
func TestScriptThatReplacesLinks(t *testing.T) {
	m := newMachine(t)
	state := installed(t, m.base, m.blobs)
	before := state()
	const script = `set -e
links=$(dirname "$BOSH_INSTALL_TARGET")
rm -rf "$BOSH_INSTALL_TARGET" "$links/p"
mkdir -p "$BOSH_INSTALL_TARGET/bin" "$links/p/bin"
echo x | tee "$BOSH_INSTALL_TARGET/bin/x" "$links/p/bin/x" "$links/file"`
	for _, name := range []string{"app", "app", "r", "r"} {
		_, err := m.Compile(t.Context(), "source", m.source(script), name, "1", nil)
		require.NoError(t, err)
		assert.Equal(t, before, state(), "the jobs have their packages")
	}
	installed(t, m.base, m.blobs)
	assert.Equal(t, before, state())
}
