package instance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

// runScript runs a start script as an instance does and returns the home directory and what the app wrote.
func runScript(t *testing.T, user []messaging.EnvVar, command string, prepare func(home string)) (stdout, stderr string) {
	t.Helper()
	return runStart(t, user, startCommand{command: command}, prepare)
}

func runStart(t *testing.T, user []messaging.EnvVar, command startCommand, prepare func(home string)) (stdout, stderr string) {
	t.Helper()
	home := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(home, "app"), 0o755))
	if prepare != nil {
		prepare(home)
	}
	bash := exec.Command("/bin/bash")
	bash.Dir = home
	bash.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + filepath.Join(home, "app"), "PORT=61001", "GEM_PATH=/system"}
	bash.Stdin = strings.NewReader(startScript(user, "", command))
	output, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Empty(t, string(output), "everything goes to the log files")
	out, err := os.ReadFile(filepath.Join(home, "logs/stdout.log"))
	require.NoError(t, err)
	errs, err := os.ReadFile(filepath.Join(home, "logs/stderr.log"))
	require.NoError(t, err)
	return string(out), string(errs)
}

func TestUserVariables(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{"PLAIN", "production", "production"},
		{"EMPTY", "", ""},
		{"EQUALS", "b=c", "b=c"},
		{"QUOTED", `say "hi"`, `say "hi"`},
		{"SINGLE", `it's`, `it's`},
		{"BLANKS", "  a\tb  ", "  a\tb  "},
		{"LINES", "a\nb\n", "a\nb\n"},
		{"GLOB", "*", "*"},
		{"EXPANDED", "$PORT/x", "61001/x"},
		{"COMMAND", "`echo 1`$(echo 2)", "12"},
		{"PORT", "8080", "8080"},
		{"LONE_BACKQUOTE", "a`b", "a`b"},
		{"LONE_PAREN", "a$(b", "a$(b"},
		{"LONE_BACKSLASH", `a\`, `a\`},
		{"ESCAPED_QUOTE", `a\"; echo injected; "`, `a\"; echo injected; "`},
		{"DATABASE_URL", "mysql2://u:$PORT`id`\\\"'@h/d", "mysql2://u:$PORT`id`\\\"'@h/d"},
		{"VCAP_SERVICES", `{"a":"\"$PORT\n"}`, `{"a":"\"$PORT\n"}`},
		{"BYTES", "\x01\xff\xfe", "\x01\xff\xfe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The variable behind it proves that a value ends where it should.
			user := []messaging.EnvVar{{Name: tc.name, Value: tc.value}, {Name: "AFTER", Value: "intact"}}
			out, errs := runScript(t, user, `printf '%s|%s' "$`+tc.name+`" "$AFTER"`, nil)
			if tc.name == "ESCAPED_QUOTE" {
				assert.NotContains(t, out, "\ninjected", "no command of a value becomes one of the script")
				assert.True(t, strings.HasSuffix(out, "|intact"), out)
				return
			}
			assert.Equal(t, tc.want+"|intact", out)
			assert.Empty(t, errs)
		})
	}
}

func TestBadNamesAreLeftOut(t *testing.T) {
	out, errs := runScript(t, messaging.ParseEnv([]string{"a-b=x", "1a=x", "a;touch hacked=x", "ok=yes"}), `echo "$ok"; ls ..`, nil)
	assert.Equal(t, "yes\napp\nlogs\nrun.pid\ntmp\n", out)
	assert.Empty(t, errs)
}

func TestScriptOrder(t *testing.T) {
	out, _ := runScript(t, []messaging.EnvVar{{Name: "FROM_USER", Value: "1"}}, `echo "$FROM_PROFILE ${GEM_PATH-none} $(umask) $(basename "$PWD") $0"; cat ../run.pid; echo $$`,
		func(home string) {
			dir := filepath.Join(home, "app/.profile.d")
			require.NoError(t, os.Mkdir(dir, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a.sh"), []byte("export FROM_PROFILE=profile$FROM_USER\ncat >/dev/null\n"), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "ignored.txt"), []byte("exit 9"), 0o644))
		})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	assert.Equal(t, "profile1 none 0077 app bash", lines[0])
	assert.Equal(t, lines[1], lines[2], "run.pid holds the pid of the app itself")
}

func TestOldDropletRunsItsStartupScript(t *testing.T) {
	out, _ := runScript(t, nil, "", func(home string) {
		require.NoError(t, os.WriteFile(filepath.Join(home, "startup"), []byte("#!/bin/sh\necho started in $(basename \"$PWD\") on $PORT\n"), 0o755))
	})
	assert.Contains(t, out, "on 61001")
}

// write writes files below a directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
	}
}

func TestDropletOfBuildpacksThatSupply(t *testing.T) {
	says := func(name string) string {
		return "SEEN=\"$SEEN " + name + ":$(basename \"$PWD\")\"; export SEEN; cat >/dev/null; cd /\ncd \"$HOME\"\n"
	}
	files := map[string]string{
		"deps/0/bin/tool": "", "profile.d/0_a.sh": says("0_a"), "profile.d/1 b": says("1-b"), "profile.d/dir/x": "exit 9",
		"app/.profile.d/z.sh": says("z"), "app/.profile.d/other.txt": says("other"), "app/.profile": says("profile"),
	}
	const command = `echo "$SEEN, $(basename "$DEPS_DIR") $(ls "$DEPS_DIR") in $(basename "$PWD")"; cat ../run.pid; echo $$`
	prepare := func(home string) { write(t, home, files) }
	out, errs := runScript(t, nil, command, prepare)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	assert.Equal(t, "0_a:app 1-b:app other:app z:app profile:app, deps 0 in app", lines[0])
	assert.Equal(t, lines[1], lines[2])
	assert.Empty(t, errs)

	out, _ = runStart(t, nil, startCommand{command: command, prefix: "env PREFIX=yes sh -c"}, prepare)
	assert.Contains(t, out, "deps 0 in app")
	out, _ = runStart(t, nil, startCommand{command: "it's $PORT", prefix: "printf '<%s>' $PORT"}, prepare)
	assert.Equal(t, "<61001><it's $PORT>", out)
}

// TestDropletsOfOthersStartAsEver shows that neither directory alone, nor a .profile, changes how a droplet starts.
func TestDropletsOfOthersStartAsEver(t *testing.T) {
	for _, with := range []string{"deps/x", "profile.d/x", "app/x"} {
		var base string
		out, errs := runScript(t, nil, `echo "${DEPS_DIR-none} $SEEN"`, func(home string) {
			base = filepath.Base(home)
			write(t, home, map[string]string{
				with: "exit 8", "app/.profile": "exit 9", "app/.profile.d/a.sh": `SEEN="$SEEN a:$(basename "$PWD")"; export SEEN`, "app/.profile.d/b": "exit 7",
			})
		})
		assert.Equal(t, "none  a:"+base+"\n", out)
		assert.Empty(t, errs)
	}
}
