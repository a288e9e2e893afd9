package userns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

// ErrRefused: this machine or its kernel does not let the user have a namespace.
var ErrRefused = errors.New("no user namespace is to be had")

// A Namespace is a user namespace together with a mount namespace, and the process that holds both.
type Namespace struct {
	holder holder
	file   string // empty: nobody else finds it
}

// Open finds the namespace that the file tells of, or makes one and writes it there. The directory of the file must be one
// that nobody else can write to. It is for processes outside of a namespace.
func Open(file string) (*Namespace, error) {
	ns, err := open(file)
	if err != nil {
		return nil, fmt.Errorf("open user namespace of %s: %w", file, err)
	}
	return ns, nil
}

func open(file string) (*Namespace, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(file+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, os.NewSyscallError("flock", err)
	}
	if h, err := readHolder(file); err == nil && h.lives() {
		return &Namespace{holder: h, file: file}, nil
	}
	ns, err := New()
	if err != nil {
		return nil, err
	}
	ns.file = file
	text, err := json.Marshal(ns.holder)
	if err == nil {
		err = atomicfile.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, ns.End())
	}
	return ns, nil
}

// New makes a namespace that ends with the processes in it. The caller enters it or ends it.
func New() (*Namespace, error) {
	h, err := startHolder()
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w: %w", err, ErrRefused)
	}
	return &Namespace{holder: h}, nil
}

// enter runs what its arguments say in the directory that the first one names.
const enter = `cd -- "$0" && exec "$@"`

// leave does so after it ended the holder, of which nobody needs to know any more.
const leave = `kill -KILL "$1"; shift; ` + enter

// arguments are those of nsenter(1), which keeps credentials: this user is root inside.
func (n *Namespace) arguments(script string, args ...string) ([]string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	pid := strconv.Itoa(n.holder.PID)
	list := []string{"nsenter", "--preserve-credentials", "--user", "--mount", "--target", pid, "--", "/bin/sh", "-c", script, dir}
	if script == leave {
		list = append(list, pid)
	}
	return append(list, args...), nil
}

// Enter replaces this process by its own program, inside of the namespace, with the given arguments, of which the first is
// a name for the program, and environment. Its number, its open files that are not close-on-exec, its working directory
// and its children stay. It returns only if it fails, and then nothing has changed.
func (n *Namespace) Enter(args, env []string) error {
	return fmt.Errorf("enter user namespace: %w", n.enter(args, env))
}

func (n *Namespace) enter(args, env []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("%w: install util-linux", err)
	}
	script := enter
	if n.file == "" {
		script = leave
	}
	list, err := n.arguments(script, append([]string{program}, args[min(1, len(args)):]...)...)
	if err != nil {
		return err
	}
	return &os.PathError{Op: "execute", Path: nsenter, Err: unix.Exec(nsenter, list, env)}
}

// Command returns a command that runs a program in the namespace.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	list, err := n.arguments(enter, append([]string{name}, args...)...)
	if err != nil {
		return &exec.Cmd{Err: err}
	}
	return exec.CommandContext(ctx, list[0], list[1:]...)
}

// End ends the holder. Processes in the namespace go on in it, and keep it.
func (n *Namespace) End() error {
	if err := n.holder.end(); err != nil {
		return fmt.Errorf("end user namespace: %w", err)
	}
	return forget(n.file)
}

// End ends the holder that the file tells of, if there is one, from inside or outside of the namespace.
func End(file string) error {
	h, err := readHolder(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && h.lives() {
		err = h.end()
	}
	if err != nil {
		return fmt.Errorf("end user namespace of %s: %w", file, err)
	}
	return forget(file)
}

func forget(file string) error {
	if file == "" {
		return nil
	}
	for _, name := range []string{file, file + ".lock"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
