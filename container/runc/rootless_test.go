package runc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/needs"
)

// rootlessEnv is set in processes that have no root: this test binary, as an ordinary user in a user namespace.
const rootlessEnv = "RUNC_TEST_ROOTLESS"

func withoutRoot() bool { return os.Getenv(rootlessEnv) != "" }

// enterNamespace goes on in a user namespace, where there is no root.
func enterNamespace() {
	if !withoutRoot() || os.Geteuid() == 0 {
		return
	}
	ns, err := userns.New()
	if err == nil {
		err = ns.Enter(os.Args, os.Environ())
	}
	fmt.Println("no user namespace:", err)
	os.Exit(1)
}

// asNobody runs tests of this binary as the user nobody, who has other ids if subIDs says so.
func asNobody(t *testing.T, subIDs, tests string) {
	t.Helper()
	requirements(t)
	needs.Tool(t, "newuidmap", "uidmap")
	needs.Tool(t, "setpriv", "util-linux")
	if withoutRoot() {
		needs.Skip(t, "needs root that is no namespace's")
	}
	dir, err := os.MkdirTemp("", "rootless-") // short enough for sockets
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	const nobody = 65534
	require.NoError(t, os.Chown(dir, nobody, nobody))
	require.NoError(t, os.Chmod(dir, 0o755))
	self, err := os.Executable()
	require.NoError(t, err)
	binary := filepath.Join(dir, "test")
	copyFile(t, binary, self)
	ids := filepath.Join(dir, "subids")
	require.NoError(t, os.WriteFile(ids, []byte(subIDs), 0o644))
	// The machine's files stay as they are: others are seen in their place.
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid &&
		exec setpriv --reuid nobody --regid nogroup --clear-groups "$0" -test.run="$2" -test.v`, binary, ids, tests)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), rootlessEnv+"=yes", "TMPDIR="+dir, "HOME="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}

// TestWithoutRoot passes the suite as an ordinary user who has more ids.
func TestWithoutRoot(t *testing.T) {
	asNobody(t, "nobody:300000:65536\n", "^TestConformance$/^(Limits|Net)$")
}

// TestWithOneID passes the suite as an ordinary user who has no other ids.
func TestWithOneID(t *testing.T) {
	asNobody(t, "", "^TestConformance$/^(Run|Limits|Net|Hostile)$")
}
