package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// programPath is the PATH of the programs that a supervisor starts; monit gives them this one, and nothing else.
const programPath = "/bin:/usr/bin:/sbin:/usr/sbin"

// A running is a program that was started.
type running struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done
}

// begin starts the program of a command in a session of its own. Its output goes nowhere, as under monit.
func (c Command) begin() (*running, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env = []string{"PATH=" + programPath}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 && (c.UID != "" || c.GID != "") {
		credential, err := c.credential()
		if err != nil {
			return nil, err
		}
		cmd.SysProcAttr.Credential = credential
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, done: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// ended tells whether the program has ended; what it has started may go on.
func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// kill ends the program and what it has started, unless that has left its session, and waits. It must be called soon after the program
// has ended, if at all: some day the number is another one's.
func (r *running) kill() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // fails when all have ended
	<-r.done
}

// finish waits for the program to end by itself. After the timeout of the command, or the end of ctx, it is killed.
func (c Command) finish(ctx context.Context, r *running) error {
	timer := time.NewTimer(c.timeout())
	defer timer.Stop()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		r.kill()
		return context.Cause(ctx)
	case <-timer.C:
		r.kill()
		return fmt.Errorf("it took more than %s", c.timeout())
	}
}

// credential looks up whom the program runs as. Only root can be someone else; other users start it as themselves.
func (c Command) credential() (*syscall.Credential, error) {
	credential := &syscall.Credential{}
	if c.UID != "" {
		u, err := user.Lookup(c.UID)
		if err != nil {
			u, err = user.LookupId(c.UID)
		}
		if err != nil {
			return nil, fmt.Errorf("run as user %s: %w", c.UID, err)
		}
		if credential.Uid, credential.Gid, err = ids(u.Uid, u.Gid); err != nil {
			return nil, err
		}
	}
	if c.GID != "" {
		g, err := user.LookupGroup(c.GID)
		if err != nil {
			g, err = user.LookupGroupId(c.GID)
		}
		if err != nil {
			return nil, fmt.Errorf("run as group %s: %w", c.GID, err)
		}
		if _, credential.Gid, err = ids("0", g.Gid); err != nil {
			return nil, err
		}
	}
	return credential, nil
}

func ids(uid, gid string) (uint32, uint32, error) {
	u, err := strconv.ParseUint(uid, 10, 32)
	if err != nil {
		return 0, 0, err
	}
	g, err := strconv.ParseUint(gid, 10, 32)
	return uint32(u), uint32(g), err
}
