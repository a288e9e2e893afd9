package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/hosts"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/program"
)

// Keys lets those in who have a key that the infrastructure or the deployment names: it writes them, and no others, to the
// authorized_keys of a user, vcap for agents. infrastructure is asked for its key; nil for none.
func Keys(name string, infrastructure func(context.Context) (string, error)) Step {
	return Step{"write authorized keys", func(ctx context.Context, s *settings.Settings) error {
		keys := slices.Clone(s.Env.Bosh.AuthorizedKeys)
		if infrastructure != nil {
			key, err := infrastructure(ctx)
			if err != nil {
				return fmt.Errorf("ask the infrastructure for its key: %w", err)
			}
			if key != "" {
				keys = append([]string{key}, keys...)
			}
		}
		if len(keys) == 0 {
			return nil
		}
		return writeKeys(name, keys)
	}}
}

func writeKeys(name string, keys []string) error {
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(strings.TrimSpace(key) + "\n")
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return err
	}
	home, err := os.OpenRoot(u.HomeDir) // whose owner may have put links there
	if err != nil {
		return err
	}
	defer home.Close()
	if err := home.MkdirAll(".ssh", 0o700); err != nil {
		return err
	}
	const file = ".ssh/authorized_keys"
	if err := atomicfile.WriteFileIn(home, file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return errors.Join(home.Lchown(".ssh", uid, gid), home.Lchown(file, uid, gid))
}

// Passwords sets the passwords of root and vcap to the hash in the settings (env.bosh.password); where there is none they stay
// as they are, and that of root stays with keep_root_password.
func Passwords() Step {
	return Step{"set passwords", func(ctx context.Context, s *settings.Settings) error {
		hash := s.Env.Bosh.Password
		if hash == nil {
			return nil
		}
		word := *hash
		if word == "" {
			word = "*" // nobody can log in with one
		}
		if strings.ContainsAny(word, ":\n\r") {
			return errors.New("env.bosh.password is no hash of a password")
		}
		lines := "vcap:" + word + "\n"
		if !s.Env.Bosh.KeepRootPassword {
			lines += "root:" + word + "\n"
		}
		_, err := program.Feed(ctx, lines, "chpasswd", "--encrypted")
		return err
	}}
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// Hostname names the machine by the agent's id, for the kernel, in etc/hostname and in etc/hosts below root. What sync_dns has
// written to the latter stays.
func Hostname(root string) Step {
	return Step{"set the host name", func(ctx context.Context, s *settings.Settings) error {
		if len(s.AgentID) > 63 || !hostname.MatchString(s.AgentID) {
			return fmt.Errorf("the agent's id %q cannot be the name of a host", s.AgentID)
		}
		names, err := hosts.New(hosts.Config{Base: root, HostsFile: filepath.Join(root, "etc", "hosts"), Hostname: s.AgentID})
		if err != nil {
			return err
		}
		if _, err := program.Run(ctx, "hostname", s.AgentID); err != nil {
			return err
		}
		if err := atomicfile.WriteFile(filepath.Join(root, "etc", "hostname"), []byte(s.AgentID+"\n"), 0o644); err != nil {
			return err
		}
		return names.WriteDefaults()
	}}
}

// EphemeralDisk sets up the ephemeral disk of the settings, see [disk.Ephemeral.Setup], unless agent.json says SkipDiskSetup.
// That a machine has none is an error, as with the original, unless it says CreatePartitionIfNoEphemeralDisk.
func EphemeralDisk(e disk.Ephemeral, linux settings.Linux) Step {
	e.OnSystemDisk = linux.CreatePartitionIfNoEphemeralDisk
	return Step{"set up the ephemeral disk", func(ctx context.Context, s *settings.Settings) error {
		if linux.SkipDiskSetup {
			return nil
		}
		return e.Setup(ctx, s)
	}}
}

// Program runs a program of the image, such as base/bosh/bin/bosh-start-logging-and-auditing, if it is there.
func Program(path string) Step {
	return Step{"run " + filepath.Base(path), func(ctx context.Context, _ *settings.Settings) error {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		_, err := program.Run(ctx, path)
		return err
	}}
}
