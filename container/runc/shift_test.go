package runc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// shifted is where the ids of containers with a user namespace begin in these tests.
const shifted = 700_000

// TestUserNamespace passes what of the suite is about users and files with root that is an ordinary user of the host.
func TestUserNamespace(t *testing.T) {
	t.Run("Conformance", func(t *testing.T) {
		conformanceWith(t, runc.Options{UserNamespace: shifted}, "Life", "Run", "Files", "Hostile", "Limits", "Survive")
	})
	t.Run("RootFS", func(t *testing.T) { rootFS(t, runc.Options{UserNamespace: shifted}) })
}

// TestRootIsNobody looks at the user root of a container with a user namespace from both sides.
func TestRootIsNobody(t *testing.T) {
	_, err := runc.New(runc.Options{UserNamespace: shifted, Depot: depotDir(t)})
	require.ErrorIs(t, err, container.ErrInvalid, "a directory that nobody else may enter")
	assert.ErrorContains(t, err, "chmod o+x")
	b := open(t, runc.Options{UserNamespace: shifted})
	c := create(t, b, container.Spec{})
	assert.Equal(t, "root:root 0 vcap:vcap\n", output(t, c, asRoot(shell("echo $(stat -c %U:%G /usr/bin/env) $(id -u) $(stat -c %U:%G /home/vcap)"))))
	output(t, c, asRoot(shell("echo x >/etc/mine; chown 1:2 /etc/mine; mv /usr/bin/env /usr/bin/env2")))
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	for name, want := range map[string][2]uint32{
		"etc/mine": {shifted + 1, shifted + 2}, "usr/bin/env2": {shifted, shifted}, "tmp": {shifted, shifted}, ".": {shifted, shifted},
	} {
		st, err := os.Lstat(filepath.Join(info.HostRoot, name))
		require.NoError(t, err)
		assert.Equal(t, want, [2]uint32{st.Sys().(*syscall.Stat_t).Uid, st.Sys().(*syscall.Stat_t).Gid}, name)
	}
	var env syscall.Stat_t
	require.NoError(t, syscall.Stat("/usr/bin/env", &env))
	assert.Zero(t, env.Uid, "the host's is as it was")

	// A file of the host that only root can read, and that nothing hides.
	secret := secretFile(t)
	require.NoError(t, os.Chmod(secret, 0o600))
	mounted := create(t, b, container.Spec{BindMounts: []container.BindMount{{Src: filepath.Dir(secret), Dst: "/mounted", Writable: true}}})
	out, status := run(t, mounted, asRoot(shell("cat /mounted/secret")))
	assert.NotZero(t, status)
	assert.NotContains(t, out, "the secret")

	assert.Equal(t, "x\n", output(t, c, shell("echo x >/dev/stdout")), "it may open its output by a name")
	_, err = c.Run(t.Context(), asRoot(shell("exec sleep 31536002")), container.IO{})
	require.NoError(t, err)
	stats, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	found := false
	for _, name := range stats {
		text, _ := os.ReadFile(name) // it may have ended
		if string(text) != "sleep\x0031536002\x00" {
			continue
		}
		found = true
		dir, err := os.Stat(filepath.Dir(name))
		require.NoError(t, err)
		assert.EqualValues(t, shifted, dir.Sys().(*syscall.Stat_t).Uid, "root is this to the host")
	}
	assert.True(t, found)
	id, err := strconv.Atoi(strings.TrimSpace(output(t, c, shell("id -u"))))
	require.NoError(t, err)
	assert.Less(t, id, 65536, fmt.Sprint(id))
}
