package sshuser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Prefix begins the name of every user that Cleanup removes, whatever a caller asks for.
const Prefix = "bosh_"

var (
	// ErrName: not a name for a user.
	ErrName = errors.New("user name must begin with a lower-case letter or '_', and have up to 32 of them, digits and '-'")
	// ErrTaken: there is a user of this name who was not made here.
	ErrTaken = errors.New("there is such a user, who is not one for a while: take another name, such as one that begins with " + Prefix)
	// ErrKey: not a public key.
	ErrKey = errors.New("public key must be one line, or several, of a file authorized_keys")
	// ErrPattern: the expression for users to be removed is malformed or too long.
	ErrPattern = errors.New("bad expression for user names")
)

const (
	maxName    = 32       // bytes
	maxKey     = 64 << 10 // bytes
	maxPasswd  = 16 << 20 // bytes of /etc/passwd
	maxPattern = 1 << 10  // bytes
	runTime    = time.Minute
)

var (
	goodName  = regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`)
	ephemeral = regexp.MustCompile(`^bosh_[a-z0-9_-]+$`)
)

// Run runs a program as root and returns what it printed, also when it failed. Arguments go to it as they are: there is no shell.
type Run func(ctx context.Context, program string, args ...string) ([]byte, error)

// Config says whose accounts are managed.
type Config struct {
	// Base is the base directory, "/var/vcap"; homes are in base/bosh_ssh. Links on the way there must be relative ones. Required.
	Base string

	// Root is the root of the system whose accounts are managed; empty is this one. Base is a path in it. Programs get it by --prefix.
	Root string

	// Groups that users join, all of which exist; default vcap, admin, bosh_sudoers, bosh_sshers (Go agent).
	Groups []string

	HostKey string // public host key, default /etc/ssh/ssh_host_rsa_key.pub
	Run     Run    // nil runs programs on this machine, for up to a minute
}

// A Manager makes and removes users, one call after the other.
type Manager struct {
	cfg Config
	mu  sync.Mutex // programs lock each other out, and fail at that
}

// New returns a Manager with the defaults filled in.
func New(cfg Config) (*Manager, error) {
	if !filepath.IsAbs(cfg.Base) || cfg.Root != "" && !filepath.IsAbs(cfg.Root) {
		return nil, errors.New("sshuser: Config.Base and Config.Root must be absolute paths")
	}
	if cfg.Groups == nil {
		cfg.Groups = []string{"vcap", "admin", "bosh_sudoers", "bosh_sshers"}
	}
	if cfg.HostKey == "" {
		cfg.HostKey = "/etc/ssh/ssh_host_rsa_key.pub"
	}
	if cfg.Run == nil {
		cfg.Run = run
	}
	return &Manager{cfg: cfg}, nil
}

func run(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}

// program runs one of useradd, usermod and userdel. args must not begin with what a user chose.
func (m *Manager) program(ctx context.Context, program string, args ...string) error {
	if m.cfg.Root != "" {
		args = append([]string{"--prefix", m.cfg.Root}, args...)
	}
	out, err := m.cfg.Run(ctx, program, args...)
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

// HostKey returns the whole file with the machine's public host key.
func (m *Manager) HostKey() (string, error) {
	root, err := m.open()
	if err != nil {
		return "", fmt.Errorf("read host key: %w", err)
	}
	defer root.Close()
	data, err := readBounded(root, m.cfg.HostKey, maxKey)
	if err != nil {
		return "", fmt.Errorf("read host key: %w", err)
	}
	return string(data), nil
}

// Setup makes a user who can log in with the key, of any name, as agents do; only Cleanup looks for those whose name begins with
// bosh_. A user who was made here before, or has such a name, gets the key in place of an earlier one. It fails with ErrName, ErrKey or
// ErrTaken before anything is done.
func (m *Manager) Setup(ctx context.Context, user, publicKey string) error {
	if len(user) > maxName || !goodName.MatchString(user) {
		return fmt.Errorf("set up ssh user %.40q: %w", user, ErrName)
	}
	key := strings.TrimSpace(publicKey)
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return fmt.Errorf("set up ssh user %s: %w", user, ErrKey)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.setup(ctx, user, key+"\n"); err != nil {
		return fmt.Errorf("set up ssh user %s: %w", user, err)
	}
	return nil
}

func (m *Manager) setup(ctx context.Context, user, key string) error {
	root, err := m.open()
	if err != nil {
		return err
	}
	defer root.Close()
	homes := filepath.Join(m.cfg.Base, "bosh_ssh")
	account, found, err := lookup(root, user)
	if err != nil {
		return err
	}
	if found && !ephemeral.MatchString(user) && account.home != filepath.Join(homes, user) {
		return ErrTaken
	}
	if err := root.MkdirAll(relative(homes), 0o755); err != nil {
		return err
	}
	if !found {
		if err := m.program(ctx, "useradd", "-m", "-b", homes, "-s", "/bin/bash", user); err != nil {
			return err
		}
		if account, found, err = lookup(root, user); err != nil || !found {
			return errors.Join(err, errors.New("useradd has made no account"))
		}
	}
	if len(m.cfg.Groups) > 0 {
		if err := m.program(ctx, "usermod", "-G", strings.Join(m.cfg.Groups, ","), user); err != nil {
			return err
		}
	}
	return account.authorize(root, key)
}

// Cleanup removes the users whose name the expression matches, homes included, and returns their names. Only those whose name begins
// with bosh_ are looked at. It goes on after a failure. A malformed expression is ErrPattern.
func (m *Manager) Cleanup(ctx context.Context, expression string) ([]string, error) {
	if len(expression) > maxPattern {
		return nil, fmt.Errorf("remove ssh users: %w: it has more than %d bytes", ErrPattern, maxPattern)
	}
	pattern, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("remove ssh users: %w: %w", ErrPattern, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	root, err := m.open()
	if err != nil {
		return nil, fmt.Errorf("remove ssh users: %w", err)
	}
	defer root.Close()
	accounts, err := accounts(root)
	if err != nil {
		return nil, fmt.Errorf("remove ssh users: %w", err)
	}
	var removed []string
	var problems []error
	for _, a := range accounts {
		if !ephemeral.MatchString(a.name) || !pattern.MatchString(a.name) {
			continue
		}
		if err := m.program(ctx, "userdel", "-r", "-f", a.name); err != nil {
			problems = append(problems, fmt.Errorf("remove ssh user %s: %w", a.name, err))
			continue
		}
		removed = append(removed, a.name)
	}
	return removed, errors.Join(problems...)
}

func (m *Manager) open() (*os.Root, error) {
	if m.cfg.Root == "" {
		return os.OpenRoot("/")
	}
	return os.OpenRoot(m.cfg.Root)
}
