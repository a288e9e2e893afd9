package staging_test

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

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
)

func TestPackageRefused(t *testing.T) {
	for name, test := range map[string]struct {
		data []byte
		text string
	}{
		"way out in a zip":    {stagetest.Files{"../../evil": "x"}.Zip(t), `"../../evil" refused`},
		"way out in a tgz":    {stagetest.Files{"../../evil": "x"}.Tgz(t), `"../../evil" refused`},
		"absolute":            {stagetest.Files{"/evil": "x"}.Zip(t), `"/evil" refused`},
		"through a link":      {stagetest.Files{"a -> /": "", "a/evil": "x"}.Zip(t), `refused`},
		"too long a name":     {stagetest.Files{strings.Repeat("n", 256): "x"}.Zip(t), "refused: "},
		"bomb":                {stagetest.Files{"zeros": strings.Repeat("\x00", 2<<20)}.Zip(t), "limit exceeded"},
		"bomb in a tgz":       {stagetest.Files{"zeros": strings.Repeat("\x00", 2<<20)}.Tgz(t), "limit exceeded"},
		"HTML":                {[]byte("<html>not found</html>"), "neither a zip file nor a tar file"},
		"empty":               {nil, "it is empty"},
		"cut off":             {stagetest.Files{"a": strings.Repeat("text", 1000)}.Tgz(t)[:50], "EOF"},
		"cut off later":       {stagetest.Files{"a": strings.Repeat("text", 1000)}.Tgz(t)[:70], "refused: it is damaged: it is cut short"},
		"xz":                  {[]byte("\xfd7zXZ\x00 and more"), "neither a zip file nor a tar file, but compressed by xz: give a zip file"},
		"bzip2":               {[]byte("BZh91AY&SY and more"), "compressed by bzip2"},
		"gzip of something":   {gzipped(t, "something"), "EOF"},
		"damaged zip":         {append([]byte("PK\x03\x04"), make([]byte, 100)...), "zip: not a valid zip file"},
		"gzip of a long text": {gzipped(t, strings.Repeat("something", 1000)), "invalid tar header"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil, classic(t, "", hello))
			s.task.App = stagetest.Save(t, test.data)
			s.task.Limits = droplet.Limits{MaxBytes: 1 << 20}
			failed := s.fails(t, staging.PackageRefused)
			assert.Equal(t, staging.StepPrepare, failed.Phase)
			assert.ErrorContains(t, failed, test.text)
			assert.Contains(t, s.log.String(), "Staging failed: the app package was refused: ")
		})
	}
}

func gzipped(t testing.TB, text string) []byte {
	var out bytes.Buffer
	_, err := droplet.Compress(t.Context(), &out, strings.NewReader(text), droplet.PackOptions{})
	require.NoError(t, err)
	return out.Bytes()
}

func TestFailures(t *testing.T) {
	works := []string{"echo x", "echo compiling", "echo '{}'"}
	for _, test := range []struct {
		name   string
		script int // which of the three is replaced
		body   string
		change func(*staging.Task)
		want   staging.Error
		text   string
		log    string
	}{
		{"nothing matches", 0, "exit 1", nil,
			staging.Error{Kind: staging.NoAppDetected, Phase: "detect"},
			"An application could not be detected by any available buildpack", "Staging failed: An application could not be detected"},
		{"no buildpacks", 0, "exit 0", func(t *staging.Task) { t.Buildpacks = nil },
			staging.Error{Kind: staging.NoAppDetected, Phase: "detect"}, "could not be detected", ""},
		{"missing key", 0, "exit 0", func(t *staging.Task) { t.BuildpackKey = "gone" },
			staging.Error{Kind: staging.CompileFailed, Phase: "detect", Buildpack: "gone"},
			`there is no buildpack with the key "gone"`, `there is no buildpack with the key "gone"`},
		{"compile", 1, "echo line; echo 'no such gem'; exit 3", nil,
			staging.Error{Kind: staging.CompileFailed, Phase: "compile", Buildpack: "bp", ExitStatus: 3, Tail: []string{"line", "no such gem"}},
			"stage: compile with buildpack bp: Buildpack compilation step failed: bin/compile exited with status 3", "Staging failed: Buildpack compilation step failed"},
		{"compile is missing", 1, "", nil,
			staging.Error{Kind: staging.CompileFailed, Phase: "compile", Buildpack: "bp"}, "bin/compile: ", ""},
		{"release", 2, "echo garbage; exit 1", nil,
			staging.Error{Kind: staging.ReleaseFailed, Phase: "release", Buildpack: "bp", ExitStatus: 1, Output: "garbage\n", Tail: []string{"compiling"}},
			"bin/release exited with status 1", "Staging failed: Release info failed:\ngarbage\n"},
		{"release prints no YAML", 2, "echo 'a: b: c'", nil,
			staging.Error{Kind: staging.ReleaseFailed, Phase: "release", Buildpack: "bp", Output: "a: b: c\n", Tail: []string{"compiling"}}, "no YAML", ""},
		{"Procfile", 1, `echo "- web" >"$1/Procfile"; echo compiling`, nil,
			staging.Error{Kind: staging.ProcfileRefused, Phase: "release", Buildpack: "bp", Tail: []string{"compiling"}},
			"Invalid Procfile format. Please ensure it is a valid YAML hash", "Invalid Procfile format. Please ensure it is a valid YAML hash"},
		{"empty Procfile", 1, `: >"$1/Procfile"; echo compiling`, nil,
			staging.Error{Kind: staging.ProcfileRefused, Phase: "release", Buildpack: "bp", Tail: []string{"compiling"}}, "Invalid Procfile", ""},
		{"time", 1, "echo working; sleep 1000 & sleep 1000", func(t *staging.Task) { t.Timeout = 300 * time.Millisecond },
			staging.Error{Kind: staging.TimedOut, Phase: "compile", Buildpack: "bp", Tail: []string{"working"}},
			"waiting for compile when the 300ms had passed that staging may take", "Staging failed: staging timed out: waiting for compile"},
		{"environment", 0, "exit 0", func(t *staging.Task) { t.Environment.User = []string{"A=\x00"} },
			staging.Error{Kind: staging.ContainerFailed, Phase: "prepare"}, `environment variable "A" has a NUL byte`, `environment variable "A" has a NUL byte`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bodies := append([]string{}, works...)
			bodies[test.script] = test.body
			s := newStage(t, app, classic(t, "bp", stagetest.Scripts(bodies[0], bodies[1], bodies[2])))
			if test.change != nil {
				test.change(&s.task)
			}
			failed := s.fails(t, test.want.Kind)
			assert.ErrorContains(t, failed, test.text)
			assert.Contains(t, s.log.String(), test.log)
			failed.Err = nil
			assert.Equal(t, test.want, *failed)
		})
	}
}

func TestOutOfMemory(t *testing.T) {
	eater := `exec perl -e 'my @a; while (1) { push @a, "x" x 1000000 }'`
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", eater, "")))
	s.limits.MemoryBytes = 64 << 20
	failed := s.fails(t, staging.CompileFailed)
	assert.ErrorIs(t, failed, staging.ErrOutOfMemory)
	assert.Contains(t, s.log.String(), "Buildpack compilation step failed: the staging container ran out of memory")
}

func TestStageEndsWithItsContext(t *testing.T) {
	for _, script := range []string{"detect", "compile", "release"} {
		t.Run(script, func(t *testing.T) {
			begun := filepath.Join(t.TempDir(), "begun")
			files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
			files["bin/"+script] = "#!/bin/sh\ntouch " + begun + "\nsleep 1000 & setsid sleep 1000\n"
			s := newStage(t, app, classic(t, "bp", files))
			reason := errors.New("a reason")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
					if _, err := os.Stat(begun); err == nil {
						break
					}
				}
				cancel(reason)
			}()
			_, err := s.run(t, ctx)
			assert.ErrorIs(t, err, reason)
			assert.ErrorIs(t, err, staging.Interrupted)
			var failed *staging.Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, script, failed.Phase)
			usage, err := s.container.Usage(t.Context())
			require.NoError(t, err)
			assert.Zero(t, usage.Processes)
		})
	}
}

func TestDamagedCacheIsLeftOut(t *testing.T) {
	whole := stagetest.Files{"a": "a", "b": strings.Repeat("0123456789", 1000), "c": "c"}.Tgz(t)
	for name, data := range map[string][]byte{"cut off": whole[:len(whole)-20], "no archive": []byte("text"), "hostile": stagetest.Files{"a": "", "../b": ""}.Tgz(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `ls "$2"`, "")))
			s.task.Cache = stagetest.Save(t, data)
			s.ok(t)
			assert.Contains(t, s.log.String(), "The cache cannot be used: ")
			assert.Equal(t, map[string]string{"./": ""}, stagetest.ReadTgz(t, s.cache.Bytes()))
		})
	}
}

func TestHostileBuildpackCannotReachTheHost(t *testing.T) {
	outside := t.TempDir()
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", fmt.Sprintf(`cd "$1/.." && rm -rf logs && ln -s %s logs`, outside), "")))
	_, err := s.run(t, t.Context())
	require.Error(t, err)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestProcessesOfBuildpacksEnd: what a buildpack leaves running is gone before the droplet is packed.
func TestProcessesOfBuildpacksEnd(t *testing.T) {
	s := newStage(t, app, classic(t, "bp", stagetest.Scripts("exit 0", `setsid sh -c 'while :; do echo x >>'"$1"'/grows; done' >/dev/null 2>&1 & exit 0`, "")))
	s.ok(t)
	usage, err := s.container.Usage(t.Context())
	require.NoError(t, err)
	assert.Zero(t, usage.Processes)
}

func TestIncompleteTask(t *testing.T) {
	_, err := staging.Stage(t.Context(), staging.Task{Timeout: -1}, staging.Parts{})
	for _, text := range []string{"Task.App", "Task.Droplet", "Task.Timeout", "Parts.Container"} {
		assert.ErrorContains(t, err, text)
	}
}

func TestEnvironmentThatIsNoJSON(t *testing.T) {
	for text, env := range map[string]staging.Environment{
		"Environment.Application": {Application: json.RawMessage("{secret")},
		"Environment.Services":    {Services: messaging.Services{{Label: "db", Credentials: json.RawMessage("{secret")}}},
	} {
		s := newStage(t, app, classic(t, "", hello))
		s.task.Environment = env
		_, err := s.run(t, t.Context())
		require.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), "secret")
	}
}
