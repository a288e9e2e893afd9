package cnb_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// oldHome is where a droplet was built.
const oldHome = "/depot/abc/rootfs/home/vcap"

// A home is a droplet on disk, not where it was built.
type home struct{ dir string }

// files of the layers and of the app; those with exec.d in their name are programs. A name with "@" before a target is a link.
func newHome(t testing.TB, launch cnb.Launch, files map[string]string) home {
	t.Helper()
	needs.Tool(t, "bash", "bash")
	h := home{t.TempDir()}
	launch.Home = oldHome
	for i := range launch.Packs {
		launch.Packs[i].Tree = tree(t, "layers/"+cnb.Escape(launch.Packs[i].ID)+"/", files)
	}
	for name, content := range files {
		name = filepath.Join(h.dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o755))
	}
	script, _, err := launch.Script()
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(h.dir, "app"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(h.dir, "layers/config"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, cnb.LaunchName), []byte(script), 0o755))
	return h
}

// tree is what is known of files below prefix.
func tree(t testing.TB, prefix string, files map[string]string) cnb.Tree {
	all := cnb.Tree{}
	for name, content := range files {
		name, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		all[name] = cnb.Node{Text: []byte(content)}
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			all[dir] = cnb.Node{Dir: true}
		}
	}
	return all
}

// run starts a command as a DEA does, in the directory of the app. PATH and HOME are all of its environment, besides env.
func (h home) run(t testing.TB, command string, env ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
	cmd.Dir = filepath.Join(h.dir, "app")
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + cmd.Dir}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 200 * time.Millisecond // what a test leaves running has our output
	err := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nobody, as a rule
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if err != nil {
		var failed *exec.ExitError
		require.ErrorAs(t, err, &failed)
	}
	return strings.ReplaceAll(out.String(), h.dir, "HOME"), strings.ReplaceAll(errs.String(), h.dir, "HOME"), cmd.ProcessState.ExitCode()
}

// environment starts a process and returns the environment that it gets.
func (h home) environment(t testing.TB, command string, env ...string) map[string]string {
	t.Helper()
	stdout, stderr, status := h.run(t, command, env...)
	require.Zero(t, status, stderr)
	require.Empty(t, stderr)
	got := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(stdout, "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	return got
}

func pack(id string, layers ...string) cnb.LaunchPack {
	return cnb.LaunchPack{Descriptor: &cnb.Descriptor{ID: id, Version: "1.0.0", API: cnb.Highest}, Layers: layers}
}

// env is a process that prints its environment.
var env = cnb.Process{Type: "env", Command: []string{"env", "-0"}, Direct: true}

func TestEnvironmentAtLaunch(t *testing.T) {
	other := env
	other.Type = "other"
	h := newHome(t, cnb.Launch{Packs: []cnb.LaunchPack{pack("a/one", "l1", "l2"), pack("two", "l")}, Processes: []cnb.Process{env, other}}, map[string]string{
		"layers/a_one/l1/bin/x":                    "",
		"layers/a_one/l1/lib/x":                    "",
		"layers/a_one/l1/include/x":                "",
		"layers/a_one/l2/bin/x":                    "",
		"layers/two/l/bin/x":                       "",
		"layers/a_one/l1/env/PLAIN":                "of l1",
		"layers/a_one/l1/env.build/PLAIN":          "not at launch",
		"layers/a_one/l2/env/PLAIN":                "of l2\n",
		"layers/a_one/l1/env/FALLBACK.default":     "first",
		"layers/a_one/l2/env/FALLBACK.default":     "second",
		"layers/a_one/l1/env/USERS.default":        "ours",
		"layers/a_one/l1/env/EMPTY.default":        "filled",
		"layers/a_one/l1/env/LIST.append":          "a",
		"layers/a_one/l1/env/LIST.delim":           ", ",
		"layers/a_one/l1/env.launch/LIST.append":   "nodelim",
		"layers/a_one/l2/env/LIST.append":          "b",
		"layers/a_one/l2/env/LIST.delim":           ";",
		"layers/two/l/env/LIST.prepend":            "z",
		"layers/two/l/env/LIST.delim":              ":",
		"layers/two/l/env/ODD.unknown":             "ignored",
		"layers/two/l/env/WHERE":                   oldHome + "/layers/two/l:" + oldHome + "2:" + oldHome,
		"layers/two/l/env.launch/KIND":             "any",
		"layers/two/l/env.launch/env/KIND":         "env",
		"layers/two/l/env.launch/other/KIND":       "other",
		"layers/two/l/env.launch/stranger/KIND":    "stranger",
		"layers/two/l/exec.d/10":                   "#!/bin/sh\necho \"EXEC = \\\"$KIND $EARLY\\\"\" >&3",
		"layers/two/l/exec.d/20":                   "#!/bin/sh\necho \"EXEC = \\\"$EXEC, then\\\"\" >&3\npwd -P >pwd",
		"layers/two/l/exec.d/other/10":             "#!/bin/sh\necho \"EXEC = \\\"$EXEC other\\\"\" >&3",
		"layers/a_one/l1/exec.d/10":                "#!/bin/sh\nprintf 'EARLY = \"yes\"' >&3",
		"layers/a_one/not-a-launch-layer/env/KIND": "wrong",
	})
	got := h.environment(t, cnb.StartCommand("env"), "USERS=the user's", "EMPTY=", "LIST=u", "CNB_APP_DIR=/x", "PATH=/cnb/process:/usr/bin:/cnb/process:/cnb/lifecycle:/bin")
	for _, name := range []string{"_", "SHLVL", "PWD", "OLDPWD"} {
		delete(got, name)
	}
	assert.Equal(t, map[string]string{
		"PATH":            "HOME/layers/two/l/bin:HOME/layers/a_one/l2/bin:HOME/layers/a_one/l1/bin:/usr/bin:/bin",
		"LD_LIBRARY_PATH": "HOME/layers/a_one/l1/lib",
		"HOME":            "HOME/app", "PLAIN": "of l2\n", "FALLBACK": "first", "USERS": "the user's", "EMPTY": "filled",
		"LIST": "z:u, anodelim;b", "KIND": "env", "EARLY": "yes", "EXEC": "env yes, then",
		"WHERE": "HOME/layers/two/l:" + oldHome + "2:HOME",
	}, got)
	where, err := os.ReadFile(filepath.Join(h.dir, "app/pwd"))
	require.NoError(t, err)
	assert.Equal(t, h.dir+"/app\n", string(where))

	got = h.environment(t, cnb.StartCommand("other"))
	assert.Equal(t, "other", got["KIND"])
	assert.Equal(t, "other yes, then other", got["EXEC"])
	for _, command := range []string{cnb.LaunchPrefix + " -- env -0", cnb.LaunchPrefix + " 'env -0'"} {
		got = h.environment(t, command)
		assert.Equal(t, "any", got["KIND"], "a command of the user is of no type")
		assert.Contains(t, got["PATH"], "HOME/layers/two/l/bin")
	}
}

func TestProcesses(t *testing.T) {
	print := []string{"bash", "-c", `printf '[%s]' "$PWD" "$@"`, "print"}
	h := newHome(t, cnb.Launch{Packs: []cnb.LaunchPack{pack("bp", "l")}, Processes: []cnb.Process{
		{Type: "list", Command: append(print, "always"), Args: []string{"a  b", "$HOME", ""}, Direct: true},
		{Type: "old", Command: []string{"printf"}, Args: []string{"<%s>", "x"}, Direct: true, Append: true},
		{Type: "below", Command: print, Direct: true, Dir: "sub/dir"},
		{Type: "elsewhere", Command: print, Direct: true, Dir: oldHome + "/layers"},
		{Type: "shell", Command: []string{`echo "$PROFILE" "$APP" $(echo sub); exit 3`}},
		{Type: "shell-args", Command: []string{"$TOOL"}, Args: []string{"<%s>", "$PROFILE", `say "hi"`, "-n", "a  b"}, Append: true},
		{Type: "in-app", Command: []string{"./run.sh"}, Direct: true},
		{Type: "missing", Command: []string{"no-such-program"}, Direct: true},
		{Type: "nowhere", Command: print, Direct: true, Dir: "no/such"},
		{Type: "$(odd)", Command: print, Direct: true},
	}}, map[string]string{
		"app/sub/dir/x": "", "app/run.sh": "#!/bin/sh\necho ran", "app/.profile": "APP=\"from .profile\"; export APP",
		"layers/bp/l/profile.d/a":          "export PROFILE=\"it's $0\"; export PROFILE=it",
		"layers/bp/l/profile.d/shell/b.sh": "export PROFILE=\"$PROFILE of shell\"",
		"layers/bp/l/env/TOOL":             "printf",
	})
	for command, want := range map[string]string{
		cnb.StartCommand("list"):                                  "[HOME/app][always][a  b][$HOME][]",
		cnb.StartCommand("list") + " other args":                  "[HOME/app][always][other][args]",
		cnb.StartCommand("old") + " y":                            "<x><y>",
		cnb.StartCommand("below"):                                 "[HOME/app/sub/dir]",
		cnb.StartCommand("elsewhere"):                             "[HOME/layers]",
		cnb.StartCommand("shell"):                                 "it of shell from .profile sub\n(3)",
		cnb.StartCommand("shell-args") + " more":                  `<it><say "hi"><-n><a  b><more>`,
		cnb.StartCommand("in-app"):                                "ran\n",
		cnb.StartCommand("'$(odd)'"):                              "[HOME/app]",
		cnb.StartCommand("missing"):                               "(82)cannot run no-such-program",
		cnb.StartCommand("nowhere"):                               "(82)there is no directory HOME/app/no/such",
		cnb.LaunchPrefix:                                          "(82)say which process",
		cnb.LaunchPrefix + " --":                                  "(82)say which program",
		cnb.LaunchPrefix + ` -- printf '<%s>' 'a "b'`:             `<a "b>`,
		cnb.LaunchPrefix + ` 'echo "$PROFILE"; exit 4'`:           "it\n(4)",
		cnb.LaunchPrefix + ` 'false || exit 5'`:                   "(5)",
		cnb.LaunchPrefix + ` "` + cnb.StartCommand("below") + `"`: "[HOME/app/sub/dir]",
		"cd / && bash HOME/layers/config/launch below":            "[HOME/app/sub/dir]",
		"cd ../layers/config && bash launch below":                "[HOME/app/sub/dir]",
	} {
		stdout, stderr, status := h.run(t, strings.ReplaceAll(command, "HOME/layers/config", h.dir+"/layers/config"))
		want, message, _ := strings.Cut(want, "(")
		code, message, _ := strings.Cut(message, ")")
		assert.Equal(t, want, stdout, command)
		assert.Contains(t, stderr, message, command)
		if code == "" {
			code = "0"
		}
		assert.Equal(t, code, fmt.Sprint(status), "%s: %s", command, stderr)
	}
}

// What programs of exec.d may write, and what not.
func TestTOMLOfPrograms(t *testing.T) {
	for text, want := range map[string]string{
		"":          "",
		"A = \"b\"": "A=b",
		"# nothing\n\n  A\t=\"1\" # one\r\nB_2 = '\\n\"'\n":            "A=1 B_2=\\n\"",
		`A = "\b\t\n\f\r\e\"\\\u00e9\U0001F600\x41\u20ac"`:             "A=\b\t\n\f\r\x1b\"\\\u00e9\U0001F600A\u20ac",
		"A = \"\"\"\nfirst\n\"quoted\" \\\n   joined\"\"\"\"\"\nB='x'": "A=first\n\"quoted\" joined\"\" B=x",
		"A = '''\r\nraw \\ 'it'\n''''":                                 "A=raw \\ 'it'\n'",
		"A = \"\u00e9 $HOME `id` $(id) 'x' \u007e\"":                   "A=\u00e9 $HOME `id` $(id) 'x' \u007e",
		"A = \"\"":        "A=",
		"A=\"a\" B=\"b\"": "error", "A = b": "error", "A = 1": "error", "A": "error", "A =": "error", "A = \"x": "error",
		"A = \"x\ny\"": "error", `A = "\q"`: "error", `A = "\u00"`: "error", `A = "\ud800"`: "error", `A = "\u0000"`: "error",
		`A = "\U00110000"`: "error", "A = '''x''": "error", "A = 'x\ny'": "error", "A = \"1\"\nA = \"2\"": "error",
		"[table]\nA = \"b\"": "error", "A.b = \"c\"": "error", `"A" = "b"`: "error", "A = \"a\x01\"": "error",
		"A = \"" + strings.Repeat("x", 70000) + "\"": "more than 65536 bytes",
		"MY-VAR = \"x\"\nA = \"b\"":                  "left out A=b", "UID = \"0\"\nA = \"b\"": "left out A=b",
	} {
		h := newHome(t, cnb.Launch{Packs: []cnb.LaunchPack{pack("bp", "l")}, Processes: []cnb.Process{env}}, map[string]string{
			"layers/bp/l/exec.d/program": "#!/bin/sh\necho to the log\ncat \"$0.txt\" >&3", "layers/bp/l/exec.d/none/x": "",
			"layers/bp/l/exec.d/program.txt": text,
		})
		require.NoError(t, os.Remove(filepath.Join(h.dir, "layers/bp/l/exec.d/program.txt")))
		launch, err := os.ReadFile(filepath.Join(h.dir, cnb.LaunchName))
		require.NoError(t, err)
		launch = bytes.ReplaceAll(launch, []byte("\t__run \"$__home\"'/layers/bp/l/exec.d/program.txt'\n"), nil)
		require.NoError(t, os.WriteFile(filepath.Join(h.dir, cnb.LaunchName), launch, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(h.dir, "layers/bp/l/exec.d/program.txt"), []byte(text), 0o644))

		stdout, stderr, status := h.run(t, cnb.StartCommand("env"), "LC_ALL=C.UTF-8")
		name := text[:min(len(text), 100)]
		if want == "error" || strings.HasPrefix(want, "more") {
			assert.Equal(t, 82, status, name)
			assert.Contains(t, stderr, strings.TrimPrefix(want, "error"), name)
			continue
		}
		want, wanted := strings.CutPrefix(want, "left out ")
		assert.Equal(t, wanted, strings.Contains(stderr, "left out"), stderr)
		assert.True(t, strings.HasPrefix(stdout, "to the log\n"), name)
		var got []string
		for entry := range strings.SplitSeq(strings.TrimPrefix(stdout, "to the log\n"), "\x00") {
			if strings.HasPrefix(entry, "A=") || strings.HasPrefix(entry, "B") && !strings.HasPrefix(entry, "BASH") {
				got = append(got, entry)
			}
		}
		assert.ElementsMatch(t, splitEntries(want), got, name)
		assert.Zero(t, status, name)
	}
}

// splitEntries cuts "A=x B=y" in two.
func splitEntries(text string) []string {
	a, b, ok := strings.Cut(text, " B")
	switch {
	case text == "":
		return nil
	case !ok:
		return []string{text}
	}
	return []string{a, "B" + b}
}

func TestProgramsThatDoNotEndWell(t *testing.T) {
	for program, message := range map[string]string{
		"#!/bin/sh\nexit 7":                         "exited with status 7",
		"#!/no/such/interpreter\n":                  "exited with status 12",
		"#!/bin/sh\nexec cat /dev/zero >&3":         "",
		"#!/bin/sh\nyes 'A = \"b\"' >&3":            "wrote more than 65536 bytes",
		"#!/bin/sh\nexec sleep 1000":                "did not end within 1 seconds",
		"#!/bin/sh\nsleep 1000 & exec 3>&-; exit 0": "",
	} {
		h := newHome(t, cnb.Launch{Packs: []cnb.LaunchPack{pack("bp", "l")}, Processes: []cnb.Process{env}},
			map[string]string{"layers/bp/l/exec.d/program": program})
		launch, err := os.ReadFile(filepath.Join(h.dir, cnb.LaunchName))
		require.NoError(t, err)
		launch = bytes.Replace(launch, []byte("__seconds=60"), []byte("__seconds=1 "), 1)
		require.NoError(t, os.WriteFile(filepath.Join(h.dir, cnb.LaunchName), launch, 0o755))
		_, stderr, status := h.run(t, cnb.StartCommand("env"))
		assert.Equal(t, 82, status, program)
		assert.Contains(t, stderr, message, program)
	}
}

// Every byte of a value arrives, whatever the locale.
func TestValuesSurvive(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.Custom(func(r *rapid.T) string {
			b := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 60).Draw(r, "bytes")
			pieces := rapid.SliceOfN(rapid.SampledFrom([]string{string(b), "'", `"`, "$HOME", "`", "\\", "\n", oldHome, "~", "*", "\x01", "\x7f", "é"}), 0, 6).Draw(r, "pieces")
			return strings.Join(pieces, "")
		})
		value, delim, second, arg := text.Draw(r, "value"), text.Draw(r, "delim"), text.Draw(r, "second"), text.Draw(r, "arg")
		locale := rapid.SampledFrom([]string{"C", "C.UTF-8", "POSIX"}).Draw(r, "locale")
		process := cnb.Process{Type: "p", Command: []string{"sh", "-c", `printf '%s\0' "$1"; env -0`, "x"}, Args: []string{arg}, Direct: true}
		h := newHome(t, cnb.Launch{Packs: []cnb.LaunchPack{pack("bp", "l")}, Processes: []cnb.Process{process}}, map[string]string{
			"layers/bp/l/env/V": value, "layers/bp/l/env.launch/V.append": second, "layers/bp/l/env.launch/V.delim": delim,
			"layers/bp/l/env/W.prepend": second, "layers/bp/l/env/W.delim": delim,
		})
		stdout, stderr, status := h.run(t, cnb.StartCommand("p"), "LC_ALL="+locale, "W="+value)
		require.Zero(r, status, stderr)
		require.Empty(r, stderr)
		entries := strings.Split(stdout, "\x00")
		moved := func(s string) string { return cnb.ReplacePath(s, oldHome, "HOME") }
		assert.Equal(r, moved(arg), entries[0])
		join := func(a, delim, b string, old string) string {
			if old == "" {
				return a + b
			}
			return a + delim + b
		}
		assert.Contains(r, entries[1:], "V="+join(moved(value), delim, moved(second), value))
		assert.Contains(r, entries[1:], "W="+join(moved(second), delim, value, value))
	})
}

func TestMetadata(t *testing.T) {
	launch := cnb.Launch{Home: oldHome, Packs: []cnb.LaunchPack{pack("a/b")}, Processes: []cnb.Process{
		{Type: "web", Command: []string{oldHome + "/layers/a_b/x/run"}, Args: []string{"1"}, Direct: true, Dir: oldHome + "/app/d", Buildpack: "a/b"},
	}}
	text, err := launch.Metadata()
	require.NoError(t, err)
	assert.Equal(t, `[[processes]]
type = "web"
command = ["/home/vcap/layers/a_b/x/run"]
args = ["1"]
direct = true
working-dir = "/home/vcap/app/d"
buildpack-id = "a/b"

[[buildpacks]]
id = "a/b"
version = "1.0.0"
api = "0.12"
`, string(text))
}
