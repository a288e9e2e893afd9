package methods_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/sshuser"
	"github.com/deakit/deakit/internal/needs"
)

// withUsers gives a node the accounts of a root directory of its own.
func withUsers(t *testing.T) func(*methods.Parts) {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/passwd":                   "root:x:0:0:root:/root:/bin/bash\nvcap:x:1000:1000::/home/vcap:/bin/bash\n",
		"etc/group":                    "root:x:0:\nvcap:x:1000:\nadmin:x:50:\nbosh_sudoers:x:51:\nbosh_sshers:x:52:\n",
		"etc/shadow":                   "root:*:1:0:99999:7:::\nvcap:*:1:0:99999:7:::\n",
		"etc/gshadow":                  "vcap:!::\nadmin:!::\nbosh_sudoers:!::\nbosh_sshers:!::\n",
		"etc/login.defs":               "UID_MIN 2000\nUID_MAX 60000\nGID_MIN 2000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\n",
		"etc/ssh/ssh_host_rsa_key.pub": "ssh-rsa AAAA root@host\n",
		"var/vcap/x":                   "",
	} {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	users, err := sshuser.New(sshuser.Config{Base: "/var/vcap", Root: root})
	require.NoError(t, err)
	return func(p *methods.Parts) { p.Users = users }
}

func TestSSH(t *testing.T) {
	needs.Root(t)
	for _, program := range []string{"useradd", "usermod", "userdel"} {
		needs.Tool(t, program, "passwd")
	}
	n := run(t, plan{parts: withUsers(t)})
	up := map[string]any{"user": "bosh_x1", "public_key": "ssh-rsa AAAAB3NzaC1yc2E me", "password": "$6$hash"}
	assert.Equal(t, `{"command":"setup","status":"success","ip":"10.0.0.21","host_public_key":"ssh-rsa AAAA root@host\n"}`, n.value("ssh", "setup", up))
	assert.Equal(t, `{"command":"cleanup","status":"success"}`, n.value("ssh", "cleanup", map[string]any{"user_regex": "^bosh_x"}))
}

func TestSSHRefusals(t *testing.T) {
	n := run(t, plan{parts: withUsers(t)})
	n.fails("there is such a user", "ssh", "setup", map[string]any{"user": "root", "public_key": "ssh-rsa AAAA me"})
	n.fails("Unknown command for SSH method", "ssh", "dance", map[string]any{})
	n.fails("user_regex is missing", "ssh", "cleanup", map[string]any{})
	n.fails("bad expression", "ssh", "cleanup", map[string]any{"user_regex": "("})
	assert.Equal(t, `{"command":"cleanup","status":"success"}`, n.value("ssh", "cleanup", map[string]any{"user_regex": ".*"}), "root and vcap stay")

	nowhere := run(t, plan{parts: func(p *methods.Parts) { withUsers(t)(p); p.Settings.Networks = nil }})
	nowhere.fails("No default ip could be found", "ssh", "setup", map[string]any{"user": "bosh_x", "public_key": "ssh-rsa AAAA me"})
	run(t, plan{}).fails("unknown message ssh", "ssh", "setup", map[string]any{})
}

// The Ruby agent fails with a value.
func TestSSHOfOld(t *testing.T) {
	n := run(t, plan{parts: withUsers(t), Config: methods.Config{Legacy: true}})
	result := decoded(t, n.value("ssh", "setup", map[string]any{"user": "root", "public_key": "ssh-rsa AAAA me"}))
	assert.Equal(t, []any{"setup", "failure"}, []any{result["command"], result["status"]})
	assert.Contains(t, result["error"], "there is such a user")
	assert.Equal(t, `{"command":"cleanup","status":"bad_user"}`, n.value("ssh", "cleanup", map[string]any{}))
	assert.Equal(t, `null`, n.value("ssh", "dance", map[string]any{}))
}
