package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripts are the files of a buildpack by the bodies of its shell scripts.
func scripts(bodies map[string]string) stagetest.Files {
	files := stagetest.Files{}
	for name, body := range bodies {
		files["bin/"+name] = "#!/bin/sh\n" + body + "\n"
	}
	return files
}

// A site is the directories of a build.
type site struct {
	t              *testing.T
	dir            string
	env            []string
	stdout, stderr bytes.Buffer
}

func newSite(t *testing.T, app stagetest.Files) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}
	t.Setenv("TMPDIR", s.path("temp"))
	require.NoError(t, os.Mkdir(s.path("temp"), 0o755))
	require.NoError(t, os.MkdirAll(s.path("app"), 0o755))
	app.Write(t, s.path("app"))
	t.Cleanup(func() {
		left, err := os.ReadDir(s.path("temp"))
		assert.NoError(t, err)
		assert.Empty(t, left, "nothing temporary is left")
	})
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// buildpack puts a buildpack where a scheduler puts it.
func (s *site) buildpack(key string, files stagetest.Files) {
	s.t.Helper()
	files.Write(s.t, filepath.Join(s.path("buildpacks"), buildpack.Hash(key)))
}

// builder runs the builder and returns the exit code.
func (s *site) builder(args ...string) int {
	s.t.Helper()
	s.stdout.Reset()
	s.stderr.Reset()
	p := s.process("builder", append([]string{
		"-buildDir=" + s.path("app"), "-outputDroplet=out/droplet", "-outputMetadata=out/result.json", "-outputBuildArtifactsCache=out/cache",
		"-buildpacksDir=buildpacks", "-buildpacksDownloadDir=downloads", "-buildArtifactsCacheDir=cache",
	}, args...))
	return lifecycle.Exit(p, lifecycle.Builder(s.t.Context(), p))
}

func (s *site) process(name string, args []string) lifecycle.Process {
	return lifecycle.Process{Name: name, Args: args, Env: s.env, Dir: s.dir, Stdout: &s.stdout, Stderr: &s.stderr}
}

func (s *site) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return string(data)
}

// result is result.json as a tree.
func (s *site) result() map[string]any {
	s.t.Helper()
	var tree map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(s.read("out/result.json")), &tree))
	return tree
}

func (s *site) droplet() map[string]string {
	s.t.Helper()
	return stagetest.ReadTgz(s.t, []byte(s.read("out/droplet")))
}

// unpack unpacks the droplet with tar, as those do who run it.
func (s *site) unpack(droplet string) string {
	s.t.Helper()
	root := s.t.TempDir()
	out, err := exec.Command("tar", "-xzf", droplet, "-C", root).CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	return root
}

// become runs what a program becomes, to its end.
func (s *site) become(c lifecycle.Command, err error, dir string) (code int) {
	s.t.Helper()
	require.NoError(s.t, err)
	cmd := exec.Command(c.Path)
	cmd.Args, cmd.Env, cmd.Dir = c.Args, c.Env, dir
	cmd.Stdout, cmd.Stderr = &s.stdout, &s.stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil {
		require.ErrorAs(s.t, err, &exit)
	}
	return cmd.ProcessState.ExitCode()
}

// code is the exit code that an error stands for.
func code(t *testing.T, err error) int {
	t.Helper()
	var exit *lifecycle.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	return exit.Code
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
