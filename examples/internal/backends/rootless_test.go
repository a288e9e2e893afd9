package backends_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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

// An ordinary user gets runc containers too, which another process of his takes up again; and processes where there is
// no runc, and is told why.
func TestOrdinaryUser(t *testing.T) {
	withRunc(t)
	setpriv := needs.Tool(t, "setpriv", "util-linux")
	const nobody = 65534
	dir, err := os.MkdirTemp("", "backends-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chown(dir, nobody, nobody))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	binary := filepath.Join(dir, "node")
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	run := func(what, path string) string {
		t.Helper()
		// A namespace keeps what is mounted when it is made: not what other tests have.
		cmd := exec.Command("unshare", "--mount", "sh", "-c", `awk '$5 ~ "^/tmp/" { print $5 }' /proc/self/mountinfo | sort --reverse |
			xargs --no-run-if-empty umount --lazy; PATH=$WANTED exec "$0" "$@"`,
			setpriv, "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", binary, what)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), ordinaryEnv+"="+filepath.Join(dir, "depot"), "TMPDIR="+dir, "WANTED="+path)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	assert.Contains(t, run("doctor", os.Getenv("PATH")), "--backend auto takes runc, because it is the strongest that works here without root")
	without := run("doctor", dir)
	assert.Contains(t, without, "--backend auto takes process, because runc does not work here: ")
	assert.Contains(t, without, "remedy: apt-get install util-linux")
	assert.Equal(t, "runc, because it is the strongest that works here without root\n", run("leave", os.Getenv("PATH")))
	assert.FileExists(t, filepath.Join(dir, "depot-runc.namespace"))
	assert.Equal(t, "runc, because an earlier run left 1 containers in it\nvcap\n", run("close", os.Getenv("PATH")))
	assert.NoFileExists(t, filepath.Join(dir, "depot-runc.namespace"), "nothing holds it")
}
