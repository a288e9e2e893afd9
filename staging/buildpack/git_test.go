package buildpack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
)

var localGit = buildpack.GitOptions{Schemes: []string{"file", "http"}}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	needs.Tool(t, "git", "git")
	cmd := exec.Command("git", append([]string{"-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// repository makes a repository with a submodule and the versions 1 (tag), 2 (no name), 3 (main) and next (branch).
func repository(t *testing.T) (url, second string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sub")
	require.NoError(t, os.Mkdir(dir, 0o755))
	git(t, dir, "init", "-q")
	stagetest.Files{"part": "of the submodule"}.Write(t, dir)
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "part")
	sub := dir

	dir = filepath.Join(t.TempDir(), "my-buildpack.git")
	require.NoError(t, os.Mkdir(dir, 0o755))
	git(t, dir, "init", "-q")
	stagetest.Files{"bin/compile": ""}.Write(t, dir)
	git(t, dir, "submodule", "--quiet", "add", "file://"+sub, "sub")
	commit := func(version string) {
		files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
		files["version"] = version
		files.Write(t, dir)
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-qm", version)
	}
	commit("1")
	git(t, dir, "tag", "v1.0")
	commit("2")
	second = git(t, dir, "rev-parse", "HEAD")
	commit("3")
	git(t, dir, "checkout", "-qb", "feature/next")
	commit("next")
	git(t, dir, "checkout", "-q", "main")
	return "file://" + dir, second
}

func TestGit(t *testing.T) {
	url, second := repository(t)
	for _, test := range []struct{ fragment, version string }{
		{"", "3"}, {"#main", "3"}, {"#v1.0", "1"}, {"#feature/next", "next"}, {"#" + second, "2"}, {"#" + second[:10], "2"},
	} {
		t.Run(test.fragment, func(t *testing.T) {
			bp, err := buildpack.NewGit(url+test.fragment, t.TempDir(), localGit)
			require.NoError(t, err)
			mount := bp.Mounts()[0].Src
			assert.Equal(t, "my-buildpack", filepath.Base(mount))
			before, err := os.Stat(mount)
			require.NoError(t, err)
			var log bytes.Buffer
			require.NoError(t, bp.Prepare(t.Context(), buildpack.Build{Log: &log}), log.String())
			assert.Equal(t, "-----> Cloning buildpack "+url+"\n", log.String())

			version, err := os.ReadFile(filepath.Join(mount, "version"))
			require.NoError(t, err)
			assert.Equal(t, test.version, string(version))
			part, err := os.ReadFile(filepath.Join(mount, "sub/part"))
			require.NoError(t, err)
			assert.Equal(t, "of the submodule", string(part))
			info, err := os.Stat(filepath.Join(mount, "bin/compile"))
			require.NoError(t, err)
			assert.EqualValues(t, 0o755, info.Mode())
			after, err := os.Stat(mount)
			require.NoError(t, err)
			assert.True(t, os.SameFile(before, after), "the container shows the directory already")
			assert.Empty(t, bp.Key())
			assert.Equal(t, url+test.fragment, bp.Path())
			assert.IsType(t, &buildpack.Classic{}, bp.Found())
		})
	}
}

func TestGitFails(t *testing.T) {
	url, _ := repository(t)
	bp, err := buildpack.NewGit(url+"#nowhere", t.TempDir(), localGit)
	require.NoError(t, err)
	var log bytes.Buffer
	err = bp.Prepare(t.Context(), buildpack.Build{Log: &log})
	var failed *buildpack.GitError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "checkout", failed.Command)
	assert.ErrorContains(t, err, "Git checkout failed: "+url)

	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	bp, err = buildpack.NewGit("http://user:secret@"+address+"/org/bp.git?token=secret", t.TempDir(), localGit)
	require.NoError(t, err)
	log.Reset()
	err = bp.Prepare(t.Context(), buildpack.Build{Log: &log})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "clone", failed.Command)
	assert.Contains(t, err.Error(), "Git clone failed: http://"+address+"/org/bp.git: exit status 128")
	assert.NotContains(t, err.Error()+log.String(), "secret")
}

// TestSubmodulesOfACommit: they are those of the commit, not those of the default branch, which need not even be there.
func TestSubmodulesOfACommit(t *testing.T) {
	sub := filepath.Join(t.TempDir(), "sub")
	require.NoError(t, os.Mkdir(sub, 0o755))
	git(t, sub, "init", "-q")
	for _, part := range []string{"old", "new"} {
		stagetest.Files{"part": part}.Write(t, sub)
		git(t, sub, "add", "-A")
		git(t, sub, "commit", "-qm", part)
	}
	dir := filepath.Join(t.TempDir(), "bp")
	require.NoError(t, os.Mkdir(dir, 0o755))
	git(t, dir, "init", "-q")
	stagetest.Files{"bin/compile": ""}.Write(t, dir)
	git(t, dir, "submodule", "--quiet", "add", "file://"+sub, "sub")
	git(t, filepath.Join(dir, "sub"), "checkout", "-q", "HEAD~")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "with the old one")
	old := git(t, dir, "rev-parse", "HEAD")
	git(t, filepath.Join(dir, "sub"), "checkout", "-q", "main")
	git(t, dir, "config", "-f", ".gitmodules", "submodule.sub.url", "file:///does/not/exist")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "with a broken one")

	bp, err := buildpack.NewGit("file://"+dir+"#"+old, t.TempDir(), localGit)
	require.NoError(t, err)
	require.NoError(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}))
	part, err := os.ReadFile(filepath.Join(bp.Dir(), "sub/part"))
	require.NoError(t, err)
	assert.Equal(t, "old", string(part))
}

// TestGitCredentials: the server gets them, and nobody sees them.
func TestGitCredentials(t *testing.T) {
	url, _ := repository(t)
	work := strings.TrimPrefix(url, "file://")
	served := t.TempDir()
	sub := git(t, work, "config", "-f", ".gitmodules", "submodule.sub.url")
	git(t, served, "clone", "-q", "--bare", sub, "part.git")
	git(t, work, "config", "-f", ".gitmodules", "submodule.sub.url", "../part.git")
	git(t, work, "commit", "-qam", "relative")
	git(t, served, "clone", "-q", "--bare", work, "bp.git")
	for _, name := range []string{"part.git", "bp.git"} {
		git(t, filepath.Join(served, name), "update-server-info")
	}
	const password = "p w:@/'\"$x"
	files := http.FileServer(http.Dir(served))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, got, _ := r.BasicAuth(); user != "some user" || got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	seen := filepath.Join(t.TempDir(), "seen")
	spy := filepath.Join(t.TempDir(), "git")
	require.NoError(t, os.WriteFile(spy, []byte("#!/bin/sh\necho \"$@\" >>"+seen+"\nexec git \"$@\"\n"), 0o755))

	address := strings.TrimPrefix(server.URL, "http://")
	secret := neturl.UserPassword("some user", password).String()
	bp, err := buildpack.NewGit("http://"+secret+"@"+address+"/bp.git#main", t.TempDir(),
		buildpack.GitOptions{Schemes: []string{"http"}, Program: spy})
	require.NoError(t, err)
	var log bytes.Buffer
	require.NoError(t, bp.Prepare(t.Context(), buildpack.Build{Log: &log}), log.String())
	part, err := os.ReadFile(filepath.Join(bp.Dir(), "sub/part"))
	require.NoError(t, err)
	assert.Equal(t, "of the submodule", string(part))

	arguments, err := os.ReadFile(seen)
	require.NoError(t, err)
	config, err := os.ReadFile(filepath.Join(bp.Dir(), ".git/config"))
	require.NoError(t, err)
	for name, text := range map[string]string{"arguments": string(arguments), "clone": string(config), "log": log.String(), "path": bp.Path()} {
		assert.Contains(t, text, "http://"+address+"/bp.git", name)
		assert.NotContains(t, text, "some", name)
	}
}

// TestGitMemory: a repository that makes git take more than its share fails it.
func TestGitMemory(t *testing.T) {
	url, _ := repository(t)
	bp, err := buildpack.NewGit(url, t.TempDir(), buildpack.GitOptions{Schemes: []string{"file"}, MaxMemory: 4 << 20})
	require.NoError(t, err)
	var failed *buildpack.GitError
	require.ErrorAs(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}), &failed)
	assert.Equal(t, "clone", failed.Command)

	bp, err = buildpack.NewGit(url, t.TempDir(), buildpack.GitOptions{Schemes: []string{"file"}, Program: "/no/git"})
	require.NoError(t, err)
	assert.ErrorContains(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}), "install git")
}

func TestGitIsReadableForTheContainer(t *testing.T) {
	url, _ := repository(t)
	dir := t.TempDir()
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	bp, err := buildpack.NewGit(url, dir, localGit)
	require.NoError(t, err)
	require.NoError(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}))
	for name, want := range map[string]os.FileMode{"..": 0o755, ".": 0o755, "bin": 0o755, "bin/compile": 0o755, "version": 0o644, "sub/part": 0o644} {
		info, err := os.Stat(filepath.Join(bp.Dir(), name))
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().Perm(), name)
	}
}

func TestGitIsBounded(t *testing.T) {
	url, _ := repository(t)
	program := slowGit(t)
	bp, err := buildpack.NewGit(url, t.TempDir(), buildpack.GitOptions{Schemes: []string{"file"}, MaxBytes: 1, Program: program})
	require.NoError(t, err)
	assert.ErrorContains(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}), "more than 1 bytes")
	runs, err := os.ReadFile(program + ".runs")
	require.NoError(t, err)
	assert.Equal(t, "run\n", string(runs), "all of it would be larger still")

	// A bomb: files without content take their place, too.
	url, _ = repository(t)
	dir := strings.TrimPrefix(url, "file://")
	for n := range 100 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("empty", n)), nil, 0o644))
	}
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "bomb")
	bp, err = buildpack.NewGit(url, t.TempDir(), buildpack.GitOptions{
		Schemes: []string{"file"}, MaxBytes: 400 << 10, Timeout: 20 * time.Second, Program: slowGit(t),
	})
	require.NoError(t, err)
	assert.ErrorContains(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}), "more than 409600 bytes")

	// A server that never answers.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	silent := "http://" + listener.Addr().String() + "/bp.git"
	bp, err = buildpack.NewGit(silent, t.TempDir(), buildpack.GitOptions{Timeout: 100 * time.Millisecond})
	require.NoError(t, err)
	assert.ErrorContains(t, bp.Prepare(t.Context(), buildpack.Build{Log: io.Discard}), "longer than 100ms")

	reason := errors.New("a reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		conn, err := listener.Accept() // the first clone's
		if err == nil {
			defer conn.Close()
			conn, err = listener.Accept()
		}
		if err == nil {
			defer conn.Close()
		}
		cancel(reason)
	}()
	bp, err = buildpack.NewGit(silent, t.TempDir(), buildpack.GitOptions{})
	require.NoError(t, err)
	assert.ErrorIs(t, bp.Prepare(ctx, buildpack.Build{Log: io.Discard}), reason)
}

// slowGit is a git that takes its time after a clone, so that someone can look at it.
func slowGit(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "git")
	require.NoError(t, os.WriteFile(name, []byte("#!/bin/sh\necho run >>\"$0.runs\"\ngit \"$@\" && exec sleep 1000\n"), 0o755))
	return name
}

func TestGitRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{
		"", "git@host.example:org/repo", "/etc", "file:///etc", "ext::sh -c id", "ssh://host.example/x", "http:///x", "https://-oProxyCommand=id/x",
		"https://-u@host.example/x", "https://host.example/x#--upload-pack=id", "https://host.example/x#a..b", "https://host.example/x#a b", "https://host.example/x#a%0ab",
		"https://user:secret@host.example/%zz", "--upload-pack=id", "https://host.example/\x00",
	} {
		_, err := buildpack.NewGit(url, dir, buildpack.GitOptions{})
		assert.ErrorIs(t, err, buildpack.ErrGitURL, url)
		assert.NotContains(t, err.Error(), "secret")
	}
	_, err := buildpack.NewGit("ssh://git@host.example/x.git", dir, buildpack.GitOptions{Schemes: []string{"ssh"}})
	assert.NoError(t, err)
}
