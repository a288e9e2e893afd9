package sshuser_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/sshuser"
	"github.com/deakit/deakit/internal/needs"
)

const key = "ssh-rsa AAAAB3NzaC1yc2E someone@example.com"

// system is a root directory with accounts of its own, which ends with the test.
func system(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nvcap:x:1000:1000::/home/vcap:/bin/bash\nodd\nbosh:x:1001:1001::/home/bosh:/bin/sh\n",
		"etc/group":  "root:x:0:\nvcap:x:1000:\nadmin:x:50:\nbosh_sudoers:x:51:\nbosh_sshers:x:52:\n",
		"etc/shadow": "root:*:1:0:99999:7:::\nvcap:*:1:0:99999:7:::\n", "etc/gshadow": "vcap:!::\nadmin:!::\nbosh_sudoers:!::\nbosh_sshers:!::\n",
		"etc/login.defs":               "UID_MIN 2000\nUID_MAX 60000\nGID_MIN 2000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\n",
		"etc/ssh/ssh_host_rsa_key.pub": "ssh-rsa AAAA root@host\n", "var/vcap/x": "",
	} {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	return root
}

func manager(t *testing.T, root string, cfg sshuser.Config) *sshuser.Manager {
	t.Helper()
	cfg.Base, cfg.Root = "/var/vcap", root
	m, err := sshuser.New(cfg)
	require.NoError(t, err)
	return m
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(data)
}

func TestRealUsers(t *testing.T) {
	needs.Root(t)
	for _, program := range []string{"useradd", "usermod", "userdel"} {
		needs.Tool(t, program, "passwd")
	}
	root := system(t)
	m := manager(t, root, sshuser.Config{})
	require.NoError(t, m.Setup(t.Context(), "bosh_1a2b3c", key+"\n"))
	passwd := read(t, root, "etc/passwd")
	require.Contains(t, passwd, "bosh_1a2b3c:x:20")
	assert.Contains(t, passwd, ":/var/vcap/bosh_ssh/bosh_1a2b3c:/bin/bash\n")
	for _, line := range strings.Split(read(t, root, "etc/group"), "\n") {
		for _, group := range []string{"vcap:", "admin:", "bosh_sudoers:", "bosh_sshers:"} {
			if strings.HasPrefix(line, group) {
				assert.True(t, strings.HasSuffix(line, ":bosh_1a2b3c"), line)
			}
		}
	}
	home := filepath.Join(root, "var/vcap/bosh_ssh/bosh_1a2b3c")
	assert.Equal(t, key+"\n", read(t, home, ".ssh/authorized_keys"))
	for name, mode := range map[string]os.FileMode{".": 0o700 | os.ModeDir, ".ssh": 0o700 | os.ModeDir, ".ssh/authorized_keys": 0o600} {
		info, err := os.Stat(filepath.Join(home, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode(), name)
		assert.GreaterOrEqual(t, info.Sys().(*syscall.Stat_t).Uid, uint32(2000), name)
	}

	// Again, with another key; what the user has put in the way leads nowhere.
	secret := filepath.Join(root, "etc/secret")
	require.NoError(t, os.WriteFile(secret, []byte("s"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(home, ".ssh/authorized_keys")))
	require.NoError(t, os.Symlink("../../../../../etc/secret", filepath.Join(home, ".ssh/authorized_keys")))
	require.NoError(t, m.Setup(t.Context(), "bosh_1a2b3c", "ssh-ed25519 BBBB"))
	assert.Equal(t, "ssh-ed25519 BBBB\n", read(t, home, ".ssh/authorized_keys"))
	require.NoError(t, os.RemoveAll(filepath.Join(home, ".ssh")))
	require.NoError(t, os.Symlink("../../../../etc", filepath.Join(home, ".ssh")))
	require.Error(t, m.Setup(t.Context(), "bosh_1a2b3c", key))
	assert.Equal(t, "s", read(t, root, "etc/secret"))
	assert.NoFileExists(t, filepath.Join(root, "etc/authorized_keys"))

	// Any name will do, but only those with the prefix are cleaned up.
	require.NoError(t, m.Setup(t.Context(), "jane", key))
	require.NoError(t, m.Setup(t.Context(), "jane", "ssh-ed25519 CCCC"), "she was made here")
	assert.Equal(t, "ssh-ed25519 CCCC\n", read(t, root, "var/vcap/bosh_ssh/jane/.ssh/authorized_keys"))
	require.NoError(t, m.Setup(t.Context(), "bosh_2", key))
	removed, err := m.Cleanup(t.Context(), "^bosh_1")
	require.NoError(t, err)
	assert.Equal(t, []string{"bosh_1a2b3c"}, removed)
	assert.NoDirExists(t, home)
	assert.NotContains(t, read(t, root, "etc/passwd"), "bosh_1a2b3c")
	removed, err = m.Cleanup(t.Context(), ".*") // it means everyone, and hits ours only
	require.NoError(t, err)
	assert.Equal(t, []string{"bosh_2"}, removed)
	passwd = read(t, root, "etc/passwd")
	assert.Contains(t, passwd, "vcap:x:1000")
	assert.Contains(t, passwd, "bosh:x:1001")
	assert.Contains(t, passwd, "root:x:0")
	assert.Contains(t, passwd, "jane:x:20")

	hostKey, err := m.HostKey()
	require.NoError(t, err)
	assert.Equal(t, "ssh-rsa AAAA root@host\n", hostKey)

	missing := manager(t, root, sshuser.Config{Groups: []string{"nobody-has-it"}, HostKey: "/etc/none"})
	require.ErrorContains(t, missing.Setup(t.Context(), "bosh_3", key), "nobody-has-it")
	_, err = missing.HostKey()
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Nothing is run for what is refused.
func TestRefusals(t *testing.T) {
	m := manager(t, system(t), sshuser.Config{Run: func(_ context.Context, program string, args ...string) ([]byte, error) {
		t.Errorf("%s %s was run", program, args)
		return nil, nil
	}})
	for _, name := range []string{"", "Root", "1a", "bosh_a b", "bosh_../x", "bosh_a:0", "bosh_a\n", "-bosh_a", "bosh_" + strings.Repeat("a", 28), "a.b"} {
		require.ErrorIs(t, m.Setup(t.Context(), name, key), sshuser.ErrName, name)
	}
	for _, name := range []string{"root", "vcap", "bosh"} {
		require.ErrorIs(t, m.Setup(t.Context(), name, key), sshuser.ErrTaken, name)
	}
	for _, bad := range []string{"", " \n", "ssh-rsa\x00", "ssh-rsa a\rb", strings.Repeat("a", 100_000)} {
		require.ErrorIs(t, m.Setup(t.Context(), "bosh_a", bad), sshuser.ErrKey)
	}
	for _, bad := range []string{"(", strings.Repeat("a", 2000)} {
		_, err := m.Cleanup(t.Context(), bad)
		require.ErrorIs(t, err, sshuser.ErrPattern)
	}
	removed, err := m.Cleanup(t.Context(), "^(root|vcap|bosh)$")
	require.NoError(t, err)
	assert.Empty(t, removed)
	for _, bad := range []sshuser.Config{{}, {Base: "relative"}, {Base: "/x", Root: "relative"}} {
		_, err := sshuser.New(bad)
		require.Error(t, err)
	}
	_, err = manager(t, t.TempDir(), sshuser.Config{}).Cleanup(t.Context(), "^bosh_")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A program that fails is told with what it printed.
func TestProgramFails(t *testing.T) {
	root := system(t)
	passwd := filepath.Join(root, "etc/passwd")
	require.NoError(t, os.WriteFile(passwd, []byte("bosh_a:x:2000:2000::/h:/bin/sh\nbosh_b:x:2001:2001::/h:/bin/sh\n"), 0o600))
	fails := errors.New("exit status 8")
	m := manager(t, root, sshuser.Config{Run: func(_ context.Context, program string, args ...string) ([]byte, error) {
		assert.Equal(t, []string{"--prefix", root}, args[:2])
		if args[len(args)-1] == "bosh_a" {
			return []byte("user is logged in\n"), fails
		}
		return nil, nil
	}})
	removed, err := m.Cleanup(t.Context(), "^bosh_")
	require.ErrorIs(t, err, fails)
	require.ErrorContains(t, err, "user is logged in")
	assert.Equal(t, []string{"bosh_b"}, removed)
	require.ErrorIs(t, m.Setup(t.Context(), "bosh_a", key), fails)
}
