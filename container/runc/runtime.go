package runc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
)

// Names in the directory of a container.
const (
	configName  = "config.json" // for runc
	pidName     = "pid"
	logName     = "runc.log"
	socketName  = "socket" // of the supervisor
	statusName  = "status"
	streamsName = "streams"
	recordName  = "container.json"
)

// launch lets runc make the container and start the supervisor in it. It is the only use of runc: everything else is
// done by the supervisor, or by the kernel when the supervisor ends.
func (c *box) launch(ctx context.Context) error {
	spec, err := json.Marshal(c.spec())
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.path(configName), spec, 0o600); err != nil {
		return err
	}
	socket, err := supervisor.Listen(c.path(socketName))
	if err != nil {
		return fmt.Errorf("make the socket of the supervisor: %w", err)
	}
	defer socket.Close()
	if err := c.execute(ctx, socket, c.status.File()); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.b.runtime), err)
	}
	text, err := os.ReadFile(c.path(pidName))
	if err != nil {
		return err
	}
	if c.init.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return fmt.Errorf("process of the supervisor: %w", err)
	}
	return c.init.open()
}

// awaitSupervisor waits until the supervisor runs: what it does first is to remove its file, which would count as one of
// the container's until then.
func (c *box) awaitSupervisor(ctx context.Context) error {
	for {
		_, err := os.Lstat(filepath.Join(rootfs.Upper(c.dir), supervisorPath))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !c.init.lives() {
			return errors.New("the supervisor ended at once")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// execute runs runc, which leaves the supervisor behind.
func (c *box) execute(ctx context.Context, files ...*os.File) error {
	cmd := exec.CommandContext(ctx, c.b.runtime, "--root", c.b.depot.path(stateName), "--log", c.path(logName),
		"--rootless", strconv.FormatBool(c.b.ids.Inside), "run", "--detach", "--bundle", c.dir, "--pid-file", c.path(pidName),
		"--preserve-fds", strconv.Itoa(len(files)), "--", c.handle) // which can begin with "-"
	cmd.ExtraFiles = files // Its other files are the null device: the supervisor inherits them.
	// Should this process be killed, the container must not come into being after a successor has cleaned up. The signal
	// is sent when the thread ends, so it must not.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err())
	}
	text, logErr := os.ReadFile(c.path(logName))
	if logErr != nil {
		return err
	}
	return fmt.Errorf("%w: %.500s", err, message(text))
}

// message returns what the log says last.
func message(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	last := lines[len(lines)-1]
	if _, text, ok := strings.Cut(last, `msg="`); ok {
		return strings.TrimSuffix(text, `"`)
	}
	return last
}
