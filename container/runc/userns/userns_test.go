package userns_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/needs"
)

// namespaces skips where nobody may have one.
func namespaces(t *testing.T) {
	t.Helper()
	needs.Tool(t, "nsenter", "util-linux")
	if _, err := os.Stat("/proc/self/ns/user"); err != nil {
		needs.Skip(t, "the kernel has no user namespaces")
	}
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

func TestOpenFindsWhatIsThere(t *testing.T) {
	namespaces(t)
	file := filepath.Join(t.TempDir(), "not/yet/namespace")
	first, err := userns.Open(t.Context(), file)
	require.NoError(t, err)
	again, err := userns.Open(t.Context(), file)
	require.NoError(t, err)
	name := exec.Command("readlink", "/proc/self/ns/user")
	inside := output(t, first.Command(t.Context(), "readlink", "/proc/self/ns/user"))
	assert.NotEqual(t, output(t, name), inside)
	assert.Equal(t, inside, output(t, again.Command(t.Context(), "readlink", "/proc/self/ns/user")))
	assert.Equal(t, "0", output(t, first.Command(t.Context(), "id", "-u")))
	here, err := os.Getwd()
	require.NoError(t, err)
	assert.Equal(t, here, output(t, first.Command(t.Context(), "pwd")), "it runs where this process does")
	output(t, first.Command(t.Context(), "mount", "-t", "tmpfs", "none", "/mnt"))
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), "none /mnt tmpfs", "nobody else sees it")

	require.NoError(t, userns.End(t.Context(), file))
	assert.NoFileExists(t, file)
	require.NoError(t, userns.End(t.Context(), file), "there is none")
	require.Error(t, first.Command(t.Context(), "true").Run(), "it has ended")
	next, err := userns.Open(t.Context(), file)
	require.NoError(t, err)
	assert.Equal(t, "0", output(t, next.Command(t.Context(), "id", "-u")))
	require.NoError(t, next.End(t.Context()))
}

// A file that does not tell of a namespace, or of one that has ended, is replaced, and no other process is touched.
func TestOpenReplacesWhatIsOfNoUse(t *testing.T) {
	namespaces(t)
	file := filepath.Join(t.TempDir(), "namespace")
	bystander := exec.Command("sleep", "1000")
	require.NoError(t, bystander.Start())
	defer func() {
		require.NoError(t, bystander.Process.Kill(), "it lives on")
		_ = bystander.Wait() // it was killed
	}()
	for _, text := range []string{"", "{", `{"pid":1}`, `{"pid":` + itoa(bystander.Process.Pid) + `,"start":1,"boot":"x"}`} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		ns, err := userns.Open(t.Context(), file)
		require.NoError(t, err, text)
		assert.Equal(t, "0", output(t, ns.Command(t.Context(), "id", "-u")))
		require.NoError(t, ns.End(t.Context()))
	}
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	assert.ErrorContains(t, userns.End(t.Context(), file), file)
}

func TestCurrent(t *testing.T) {
	namespaces(t)
	ids, err := userns.Current()
	require.NoError(t, err)
	text, err := os.ReadFile("/proc/self/uid_map")
	require.NoError(t, err)
	assert.Equal(t, strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295", ids.Inside)
	assert.Equal(t, 0, ids.Outer(0)-firstOuter(t, string(text)))
	assert.Equal(t, -1, ids.Outer(-5))
	assert.Positive(t, ids.Count)
}

func itoa(n int) string { return strconv.Itoa(n) }

func firstOuter(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Fields(text)[1])
	require.NoError(t, err)
	return n
}
