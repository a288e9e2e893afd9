package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging/messagingtest"
)

const machineID = "3c7c4a2e-9c8e-4a67-9d0a-2f3bb2f9d001"

// alone is a script that gives the program that follows a machine of its own as far as names of users and hosts, homes and trusted
// certificates go: $1 has what takes their places. The programs are those of this machine, and so are its accounts to begin with.
const alone = `set -e
for dir in etc home usr/local/share/ca-certificates; do mount --bind "$1/$dir" "/$dir"; done
if ! getent passwd vcap >/dev/null; then
  for group in admin bosh_sudoers bosh_sshers; do groupadd -f $group; done
  useradd --create-home --user-group --shell /bin/bash vcap
fi
shift
exec "$@"
`

// A wholeMachine is one whose agent may change what is outside of its base directory: /etc and so on, which are copies.
type wholeMachine struct {
	*machine
	root string // of the copies
}

func whole(t *testing.T, change func(object), args ...string) *wholeMachine {
	needs.Root(t)
	for tool, pkg := range map[string]string{"unshare": "util-linux", "nsenter": "util-linux", "useradd": "passwd", "chpasswd": "passwd",
		"hostname": "hostname", "update-ca-certificates": "ca-certificates"} {
		needs.Tool(t, tool, pkg)
	}
	dir := t.TempDir()
	m := &wholeMachine{&machine{t: t, dir: dir, base: filepath.Join(dir, "vcap"), ready: "takes requests over NATS"}, filepath.Join(dir, "root")}
	for _, name := range []string{"home", "usr/local/share/ca-certificates"} {
		require.NoError(t, os.MkdirAll(filepath.Join(m.root, name), 0o755))
	}
	for parent := dir; parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		require.NoError(t, os.Chmod(parent, 0o755)) // for users
	}
	out, err := exec.Command("cp", "-a", "/etc", m.root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	// What other packages do with certificates, such as a copy for Java, takes long.
	require.NoError(t, os.RemoveAll(filepath.Join(m.root, "etc/ca-certificates/update.d")))
	require.NoError(t, os.MkdirAll(filepath.Join(m.root, "etc/ssh"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(m.root, "etc/ssh/ssh_host_rsa_key.pub"), []byte("ssh-rsa host\n"), 0o644))

	server := messagingtest.NewServer(t)
	settings := object{"agent_id": machineID, "vm": object{"name": "vm-1"}, "mbus": server.URL(),
		"blobstore": object{"provider": "local", "options": object{"blobstore_path": m.store()}},
		"networks":  object{"default": object{"type": "manual", "ip": "10.0.0.21", "netmask": "255.255.255.0", "gateway": "10.0.0.1"}}}
	change(settings)
	m.json("settings.json", settings)
	m.json("agent.json", object{"Infrastructure": object{"Settings": object{"Sources": []object{
		{"Type": "File", "SettingsPath": filepath.Join(dir, "settings.json")},
	}}}})
	m.shell = []string{"unshare", "--mount", "--uts", "--propagation", "private", "sh", "-c", alone, "sh", m.root}
	m.args = append([]string{"-C", filepath.Join(dir, "agent.json"), "-b", m.base, "-M", "dummy", "-t", strconv.Itoa(programtest.FreePort(t))}, args...)
	m.start()
	way, err := client.NewNATS(client.NATSConfig{Conn: server.Connect(), AgentID: machineID, Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	m.connect(way)
	return m
}

// system reads a file of the system as the agent sees it.
func (m *wholeMachine) system(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.root, name))
	require.NoError(m.t, err)
	return string(data)
}

// entry is the line of a file such as etc/passwd that begins with a name, in fields.
func (m *wholeMachine) entry(file, name string) []string {
	m.t.Helper()
	for line := range strings.Lines(m.system(file)) {
		if strings.HasPrefix(line, name+":") {
			return strings.Split(strings.TrimSpace(line), ":")
		}
	}
	m.t.Fatalf("%s has no %s", file, name)
	return nil
}

// ids are the numbers of a user and of its group.
func (m *wholeMachine) ids(user string) (uid, gid uint32) {
	entry := m.entry("etc/passwd", user)
	u, err := strconv.ParseUint(entry[2], 10, 32)
	require.NoError(m.t, err)
	g, err := strconv.ParseUint(entry[3], 10, 32)
	require.NoError(m.t, err)
	return uint32(u), uint32(g)
}

// owned checks to whom a file belongs and what its mode is.
func owned(t *testing.T, name string, uid, gid uint32, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	assert.Equal(t, [2]uint32{uid, gid}, [2]uint32{stat.Uid, stat.Gid}, "owner and group of %s", name)
	assert.Equal(t, mode, info.Mode().Perm(), "mode of %s", name)
}

// kernelName is the name of the host as the agent has it.
func (m *wholeMachine) kernelName() string {
	m.t.Helper()
	pid := strings.Fields(m.file("bosh/agent.pid"))[0]
	out, err := exec.Command("nsenter", "--uts=/proc/"+pid+"/ns/uts", "hostname").CombinedOutput()
	require.NoError(m.t, err, "%s", out)
	return strings.TrimSpace(string(out))
}

// TestSetup: who may log in, by which name the machine goes, again and again, for an agent that is to see to it.
func TestSetup(t *testing.T) {
	t.Parallel()
	before, err := os.Hostname()
	require.NoError(t, err)
	const hash, second = "$6$salt$abcdefghijklmnopqrstuv.", "$6$salt$other"
	environment := object{"password": hash, "authorized_keys": []string{"ssh-rsa AAAA first", "ssh-ed25519 BBBB second"}}
	var all object
	m := whole(t, func(settings object) {
		settings["env"] = object{"bosh": environment}
		all = settings
	}, "--setup", "keys,passwords,hostname")

	assert.Equal(t, hash, m.entry("etc/shadow", "vcap")[1])
	assert.Equal(t, hash, m.entry("etc/shadow", "root")[1])
	uid, gid := m.ids("vcap")
	ssh := filepath.Join(m.root, "home/vcap/.ssh")
	owned(t, ssh, uid, gid, 0o700)
	owned(t, filepath.Join(ssh, "authorized_keys"), uid, gid, 0o600)
	assert.Equal(t, "ssh-rsa AAAA first\nssh-ed25519 BBBB second\n", m.system("home/vcap/.ssh/authorized_keys"))

	assert.Equal(t, machineID, m.kernelName())
	assert.Equal(t, machineID+"\n", m.system("etc/hostname"))
	assert.Contains(t, m.system("etc/hosts"), "127.0.0.1 "+machineID+" localhost\n")
	m.syncDNS(t, "10.0.0.22 db.bosh")

	// The agent comes up again, with other settings.
	m.Kill()
	environment["password"], environment["keep_root_password"], environment["authorized_keys"] = second, true, []string{"ssh-rsa CCCC third"}
	m.json("settings.json", all)
	m.again()
	assert.Equal(t, second, m.entry("etc/shadow", "vcap")[1])
	assert.Equal(t, hash, m.entry("etc/shadow", "root")[1])
	assert.Equal(t, "ssh-rsa CCCC third\n", m.system("home/vcap/.ssh/authorized_keys"))
	assert.Contains(t, m.system("etc/hosts"), "10.0.0.22 db.bosh\n", "what the director told stays")

	m.Kill()
	environment["password"] = "" // nobody logs in with one
	m.json("settings.json", all)
	m.again()
	assert.Equal(t, "*", m.entry("etc/shadow", "vcap")[1])
	after, err := os.Hostname()
	require.NoError(t, err)
	assert.Equal(t, before, after, "of this machine")
}

// syncDNS tells the machine of another one.
func (m *wholeMachine) syncDNS(t *testing.T, record string) {
	t.Helper()
	ip, name, _ := strings.Cut(record, " ")
	records := `{"version":1,"records":[["` + ip + `","` + name + `"]]}`
	require.NoError(t, os.MkdirAll(m.store(), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(m.store(), "dns"), []byte(records), 0o644))
	sum, err := digest.Of(strings.NewReader(records), digest.SHA1)
	require.NoError(t, err)
	_, err = m.agent.SyncDNS(t.Context(), "dns", sum.String(), 1)
	require.NoError(t, err)
	assert.Contains(t, m.system("etc/hosts"), record+"\n")
}

// TestSystem: what the methods change of a system, by its own programs.
func TestSystem(t *testing.T) {
	t.Parallel()
	m := whole(t, func(object) {})
	ctx := t.Context()
	uid, group := m.ids("vcap")
	assert.NotEqual(t, machineID, m.kernelName(), "nobody asked for it")

	// Directories and jobs belong to the group of those who run them.
	for name, mode := range map[string]os.FileMode{"data/sys": 0o750, "data/sys/log": 0o750, "data/sys/run": 0o750} {
		owned(t, filepath.Join(m.base, name), 0, group, mode)
	}
	tool, err := m.agent.CompilePackage(ctx, m.source(), nil)
	require.NoError(t, err)
	require.NoError(t, m.agent.Apply(ctx, m.spec(tool)))
	for name, mode := range map[string]os.FileMode{"data/sys/log/web": 0o770, "data/sys/run/web": 0o770, "data/web": 0o770, "jobs/web/": 0o750,
		"jobs/web/bin/ctl": 0o750, "jobs/web/config.txt": 0o640, "packages/tool/": 0o755, "packages/tool/bin/server": 0o755} {
		real, err := filepath.EvalSymlinks(filepath.Join(m.base, name))
		require.NoError(t, err)
		owned(t, real, 0, group, mode)
	}
	assert.Contains(t, m.system("etc/logrotate.d/vcap"), filepath.Join(m.base, "data/sys/log"))

	// Logs are for whom they are wanted.
	m.write("sys/log/web/web.log", "line\n")
	bundled, err := m.agent.BundleLogs(ctx, "vcap", "job", nil)
	require.NoError(t, err)
	owned(t, bundled.Path, uid, group, 0o600)

	// Authorities that the director trusts are trusted by the programs of the machine, and no more when it does not.
	data, err := os.ReadFile(certtest.NewAuthority(t, "authority").File)
	require.NoError(t, err)
	text := string(data)
	require.NoError(t, m.agent.UpdateSettings(ctx, client.UpdateSettings{TrustedCerts: text}))
	assert.Contains(t, m.system("etc/ssl/certs/ca-certificates.crt"), text)
	link, err := os.Readlink(filepath.Join(m.root, "etc/ssl/certs/bosh-trusted-cert-1.pem"))
	require.NoError(t, err)
	assert.Equal(t, "/usr/local/share/ca-certificates/bosh-trusted-cert-1.crt", link)
	require.NoError(t, m.agent.UpdateSettings(ctx, client.UpdateSettings{}))
	assert.NotContains(t, m.system("etc/ssl/certs/ca-certificates.crt"), text)
	assert.NoFileExists(t, filepath.Join(m.root, "etc/ssl/certs/bosh-trusted-cert-1.pem"))

	m.syncDNS(t, "10.0.0.22 db.bosh")
	owned(t, filepath.Join(m.base, "instance/dns/records.json"), 0, group, 0o640)

	// People log in for a while.
	login, err := m.agent.SetUpSSH(ctx, "bosh_1a2b", "ssh-rsa AAAA somebody")
	require.NoError(t, err)
	assert.Equal(t, "ssh-rsa host\n", login.HostKey)
	user, _ := m.ids("bosh_1a2b")
	info, err := os.Stat(filepath.Join(m.base, "bosh_ssh/bosh_1a2b/.ssh/authorized_keys"))
	require.NoError(t, err)
	assert.Equal(t, user, info.Sys().(*syscall.Stat_t).Uid)
	for _, name := range []string{"vcap", "admin", "bosh_sudoers", "bosh_sshers"} {
		assert.Contains(t, m.entry("etc/group", name)[3], "bosh_1a2b")
	}
	_, err = m.agent.CleanUpSSH(ctx, "^bosh_1")
	require.NoError(t, err)
	assert.NotContains(t, m.system("etc/passwd"), "bosh_1a2b")
}
