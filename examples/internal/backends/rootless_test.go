package backends_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/internal/needs"
)

// ordinaryEnv makes this test binary a node of an ordinary user, whose depot it names, with what it does.
const ordinaryEnv = "BACKENDS_TEST_ORDINARY"

func asOrdinaryUser() {
	depot := os.Getenv(ordinaryEnv)
	if depot == "" {
		return
	}
	if err := node(context.Background(), os.Args[1], backends.Config{Depot: depot}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

func node(ctx context.Context, what string, cfg backends.Config) (err error) {
	if what == "doctor" {
		return backends.Doctor(ctx, os.Stdout, backends.Auto, cfg)
	}
	if err := backends.Enter(ctx, backends.Auto, cfg); err != nil {
		return err
	}
	choice, err := backends.Choose(ctx, backends.Auto, cfg)
	if err != nil {
		return err
	}
	fmt.Println(choice)
	b, err := backends.Open(ctx, choice, cfg)
	if err != nil {
		return err
	}
	if what == "leave" {
		if _, err := b.Create(ctx, container.Spec{Handle: "stays"}); err != nil {
			return err
		}
		return b.Leave(ctx)
	}
	defer func() { err = errors.Join(err, b.Close(ctx)) }()
	c, err := b.Lookup(ctx, "stays")
	if err != nil {
		return err
	}
	p, err := c.Run(ctx, container.ProcessSpec{Path: "id", Args: []string{"-un"}}, container.IO{Stdout: os.Stdout})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// An ordinaryUser runs this test binary as the user nobody, who has a directory.
type ordinaryUser struct {
	t   *testing.T
	dir string
}

func newOrdinaryUser(t *testing.T) ordinaryUser {
	t.Helper()
	withRunc(t)
	needs.Tool(t, "setpriv", "util-linux")
	const nobody = 65534
	dir, err := os.MkdirTemp("", "backends-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, nobody, nobody))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "node"), self, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	return ordinaryUser{t, dir}
}

// command runs node with a search path.
func (u ordinaryUser) command(what, path string) *exec.Cmd {
	// A namespace keeps what is mounted when it is made: not what other tests have.
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `awk '$5 ~ "^/tmp/" { print $5 }' /proc/self/mountinfo | sort --reverse |
		xargs --no-run-if-empty umount --lazy; PATH=$WANTED exec "$0" "$@"`,
		needs.Tool(u.t, "setpriv", "util-linux"), "--reuid", "nobody", "--regid", "nogroup", "--clear-groups",
		filepath.Join(u.dir, "node"), what)
	cmd.Dir = u.dir
	cmd.Env = append(os.Environ(), ordinaryEnv+"="+filepath.Join(u.dir, "depot"), "TMPDIR="+u.dir, "WANTED="+path)
	return cmd
}

func (u ordinaryUser) run(what, path string) string {
	u.t.Helper()
	out, err := u.command(what, path).CombinedOutput()
	require.NoError(u.t, err, "%s", out)
	return string(out)
}

// An ordinary user gets runc containers too, which another process of his takes up again; and processes where there is
// no runc, and is told why.
func TestOrdinaryUser(t *testing.T) {
	u := newOrdinaryUser(t)
	path := os.Getenv("PATH")
	assert.Contains(t, u.run("doctor", path), "--backend auto takes runc, because it is the strongest that works here without root")
	without := u.run("doctor", u.dir)
	assert.Contains(t, without, "--backend auto takes process, because runc does not work here: ")
	assert.Contains(t, without, "remedy: apt-get install util-linux")
	assert.Equal(t, "runc, because it is the strongest that works here without root\n", u.run("leave", path))
	assert.FileExists(t, filepath.Join(u.dir, "depot-runc.namespace"))
	assert.Equal(t, "runc, because an earlier run left 1 containers in it\nvcap\n", u.run("close", path))
	assert.NoFileExists(t, filepath.Join(u.dir, "depot-runc.namespace"), "nothing holds it")
}

// Whoever presses Ctrl-C while a node finds out what works leaves nothing: no container, no directory and no namespace.
func TestInterruptedTrial(t *testing.T) {
	u := newOrdinaryUser(t)
	cmd := u.command("leave", os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	trial := filepath.Join(u.dir, "deakit-doctor-*")
	require.Eventually(t, func() bool {
		containers, err := filepath.Glob(filepath.Join(trial, "*", "rootfs"))
		return err == nil && len(containers) > 0
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	require.Error(t, cmd.Wait())
	assert.Eventually(t, func() bool {
		left, err := filepath.Glob(trial)
		return err == nil && len(left) == 0 && errors.Is(syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH)
	}, 30*time.Second, 10*time.Millisecond)
}
