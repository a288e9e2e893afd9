package userns

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

// ErrRefused: this machine or its kernel does not let the user have a namespace.
var ErrRefused = errors.New("no user namespace is to be had")

// A Namespace is a user namespace together with a mount namespace, and the process that holds both.
type Namespace struct {
	holder  holder
	file    string // empty: nobody else finds it
	missing error
}

// Missing tells why the namespace has one id only. It is nil if there are more, and if an earlier process made it.
func (n *Namespace) Missing() error { return n.missing }

// Open finds the namespace that the file tells of, or makes one and writes it there. The directory of the file must be one
// that nobody else can write to. It is for processes outside of a namespace. ctx bounds only the opening.
func Open(ctx context.Context, file string) (*Namespace, error) {
	ns, err := open(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("open user namespace of %s: %w", file, err)
	}
	return ns, nil
}

func open(ctx context.Context, file string) (*Namespace, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	lock, err := take(ctx, file)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	h, err := readHolder(file)
	switch {
	case err == nil && h.lives():
		return &Namespace{holder: h, file: file}, nil
	case err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errOfNoUse):
		return nil, err
	}
	ns, err := newNamespace(ctx, true)
	if err != nil {
		return nil, err
	}
	ns.file = file
	text, err := json.Marshal(ns.holder)
	if err == nil {
		err = atomicfile.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, ns.holder.end())
	}
	return ns, nil
}

// take waits for the lock of a file, which others have for as long as it takes to make or end a namespace.
func take(ctx context.Context, file string) (*os.File, error) {
	for {
		lock, err := os.OpenFile(file+lockSuffix, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isStill(lock) {
			return lock, nil
		}
		lock.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, os.NewSyscallError("flock", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another process makes or ends it: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const lockSuffix = ".lock"

// isStill tells whether a file has its name yet, which End takes away.
func isStill(f *os.File) bool {
	opened, err := f.Stat()
	named, namedErr := os.Lstat(f.Name())
	return err == nil && namedErr == nil && os.SameFile(opened, named)
}

// New makes a namespace that ends with the processes in it. The caller enters it or ends it, within ten minutes. ctx bounds
// only the making.
func New(ctx context.Context) (*Namespace, error) { return newNamespace(ctx, false) }

func newNamespace(ctx context.Context, lasting bool) (*Namespace, error) {
	if _, err := exec.LookPath("nsenter"); err != nil { // without, it would be of no use
		return nil, fmt.Errorf("make a user namespace: %w: install util-linux", err)
	}
	h, missing, err := startHolder(ctx, lasting)
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w: %w", err, cmp.Or(ctx.Err(), ErrRefused))
	}
	return &Namespace{holder: h, missing: missing}, nil
}

// enter runs what its arguments say in the directory that the first one names.
const enter = `cd -- "$0" && exec "$@"`

// leave does so after it ended the holder, of which nobody needs to know any more.
const leave = `kill -KILL "$1"; shift; ` + enter

// arguments are those of nsenter(1), which keeps credentials: this user is root inside.
func (n *Namespace) arguments(script string, args ...string) []string {
	dir, err := os.Getwd()
	if err != nil || unix.Access(dir, unix.X_OK) != nil {
		dir = "/" // nobody gets there again
	}
	pid := strconv.Itoa(n.holder.PID)
	list := []string{"nsenter", "--preserve-credentials", "--user", "--mount", "--target", pid, "--", "/bin/sh", "-c", script, dir}
	if script == leave {
		list = append(list, pid)
	}
	return append(list, args...)
}

// Enter replaces this process by its own program, inside of the namespace, with the given arguments, of which the first is
// a name for the program, and environment, of which a shell keeps what has a name that it knows. Its number, its open files
// that are not close-on-exec and its children stay, as does its working directory, unless that cannot be entered any more:
// then it is the root.
//
// It returns only if it fails, and then a namespace of New has ended.
func (n *Namespace) Enter(args, env []string) error {
	err := n.enter(args, env)
	if n.file == "" {
		err = errors.Join(err, n.holder.end())
	}
	return fmt.Errorf("enter user namespace: %w", err)
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
	list := n.arguments(script, append([]string{program}, args[min(1, len(args)):]...)...)
	return &os.PathError{Op: "execute", Path: nsenter, Err: unix.Exec(nsenter, list, env)}
}

// Command returns a command that runs a program in the namespace.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	list := n.arguments(enter, append([]string{name}, args...)...)
	return exec.CommandContext(ctx, list[0], list[1:]...)
}

// End ends the holder. Processes in the namespace go on in it, and keep it. ctx bounds the wait for others who make or end
// a namespace with the same file.
func (n *Namespace) End(ctx context.Context) error {
	if n.file != "" {
		return End(ctx, n.file)
	}
	if err := n.holder.end(); err != nil {
		return fmt.Errorf("end user namespace: %w", err)
	}
	return nil
}

// End ends the holder that the file tells of, if there is one, from inside or outside of the namespace, and removes the
// file. ctx bounds the wait for others who make or end it.
func End(ctx context.Context, file string) error {
	if err := end(ctx, file); err != nil {
		return fmt.Errorf("end user namespace of %s: %w", file, err)
	}
	return nil
}

func end(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := take(ctx, file)
	if err != nil {
		return err
	}
	defer lock.Close()
	h, err := readHolder(file)
	switch {
	case errors.Is(err, os.ErrNotExist): // another was faster
	case errors.Is(err, errOfNoUse):
		return fmt.Errorf("%w: remove it", err)
	case err != nil:
		return err
	case h.lives():
		if err := h.end(); err != nil {
			return err
		}
	}
	for _, name := range []string{file, file + lockSuffix} { // the lock last
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
