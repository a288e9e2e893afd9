package backends

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/container/garden"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/container/warden"
)

// The names by which back ends are asked for.
const (
	Auto    = "auto" // the strongest that works here
	Process = "process"
	Runc    = "runc"
	Warden  = "warden" // a server; only where Config says where it is
	Garden  = "garden" // another one; likewise
)

// trialTime bounds how long it may take to find out what works.
const trialTime = time.Minute

// Names lists what can be asked for everywhere.
func Names() []string { return []string{Auto, Process, Runc} }

// Config is what a node says of its containers.
type Config struct {
	// Depot is the directory of the process back end. The others have theirs beside it, with their name added.
	Depot string

	HostIP string       // at which apps are reached
	Fresh  bool         // end and remove what an earlier process left
	Logger *slog.Logger `json:"-"`

	// Of the back ends that are no server; zero takes their defaults.
	StopGrace time.Duration
	Ports     process.PortRange

	// Hide are paths that containers must not see where they share the files of the host; empty ones do not count.
	Hide []string

	WardenSocket string // where a Warden server listens; empty: there is none
	GardenSocket string // where a Garden server does
}

// kinds are the back ends that may have left something, in the order in which Auto looks.
func (c Config) kinds() []string {
	all := []string{Process, Runc}
	if c.WardenSocket != "" {
		all = append(all, Warden)
	}
	if c.GardenSocket != "" {
		all = append(all, Garden) // it leaves nothing but at its server
	}
	return all
}

func (c Config) depot(name string) string {
	if name == Process {
		return c.Depot
	}
	return c.Depot + "-" + name
}

func (c Config) process() process.Options {
	return process.Options{
		Depot: c.depot(Process), HostIP: c.HostIP, Fresh: c.Fresh, Logger: c.Logger, StopGrace: c.StopGrace, Ports: c.Ports,
	}
}

func (c Config) runc() runc.Options {
	return runc.Options{
		Depot: c.depot(Runc), HostIP: c.HostIP, Fresh: c.Fresh, Logger: c.Logger, StopGrace: c.StopGrace,
		Ports: runc.PortRange{First: c.Ports.First, Last: c.Ports.Last}, Hide: resolved(c.Hide),
	}
}

// resolved returns paths as absolute ones, and with them what they stand for where links lead to it.
func resolved(paths []string) (all []string) {
	for _, p := range paths {
		if p == "" {
			continue
		}
		if absolute, err := filepath.Abs(p); err == nil {
			p = absolute // else runc refuses it
		}
		all = append(all, p)
		if target, err := filepath.EvalSymlinks(p); err == nil && target != p { // else there is nothing to be seen
			all = append(all, target)
		}
	}
	return all
}

func (c Config) warden() warden.Options {
	return warden.Options{Address: c.WardenSocket, StateDir: c.depot(Warden), HostIP: c.HostIP, Logger: c.Logger}
}

func (c Config) garden() garden.Options {
	return garden.Options{Address: c.GardenSocket, HostIP: c.HostIP, Logger: c.Logger}
}

// A Choice is a back end and why it was taken.
type Choice struct {
	Name string
	Why  string // in words for people, to follow "because"
}

// String is "runc, because of --backend runc".
func (c Choice) String() string { return c.Name + ", because " + c.Why }

// Choose finds the back end for a name. It opens nothing; Auto may make a container for trial.
//
// Auto goes on where an earlier run left containers. Else it takes the Warden server that the configuration names, if one
// listens there; the Garden server that it names, also if it is away for now, as only that knows what was left; or the
// strongest of the others.
func Choose(ctx context.Context, name string, cfg Config) (Choice, error) {
	switch {
	case name == Warden && cfg.WardenSocket == "":
		return Choice{}, errors.New("back end warden: the configuration has no warden_socket")
	case name == Garden && cfg.GardenSocket == "":
		return Choice{}, errors.New("back end garden: the configuration has no deakit.garden_socket")
	case name != Auto && !slices.Contains(cfg.kinds(), name):
		return Choice{}, fmt.Errorf("back end %q is not known: choose one of %s", name, strings.Join(Names(), ", "))
	case name != Auto:
		return Choice{name, "of --backend " + name}, nil
	}
	if !cfg.Fresh {
		for _, name := range cfg.kinds() {
			if count := left(cfg.depot(name)); count > 0 {
				return Choice{name, fmt.Sprintf("an earlier run left %d containers in it", count)}, nil
			}
		}
	}
	why := ""
	if cfg.WardenSocket != "" {
		err := listens(ctx, cfg.WardenSocket)
		if err == nil {
			return Choice{Warden, "a server listens at " + cfg.WardenSocket}, nil
		}
		why = fmt.Sprintf("no Warden server listens at %s, and ", cfg.WardenSocket)
	}
	if cfg.GardenSocket != "" {
		return Choice{Garden, why + "the configuration has a Garden server at " + cfg.GardenSocket}, nil
	}
	choice := strongest(Examine(ctx, cfg))
	choice.Why = why + choice.Why
	return choice, nil
}

// listens tells whether there is a server at a Unix socket.
func listens(ctx context.Context, socket string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Examine looks what runc containers lack on this machine. For an ordinary user it starts a process in a user namespace,
// which Begin makes answer.
func Examine(ctx context.Context, cfg Config) []runc.Finding {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	opts := cfg.runc()
	opts.Logger = nil // what it says is in the findings
	findings := runc.Doctor(ctx, opts)
	if _, missing := obstacle(findings); missing || os.Geteuid() == 0 {
		return findings
	}
	inside, err := examineInside(ctx, cfg)
	if err != nil {
		return append(findings, runc.Finding{What: "a container, for trial", Required: true, Detail: err.Error()})
	}
	return append(findings, inside...)
}

// strongest is what Auto takes where there are no containers.
func strongest(findings []runc.Finding) Choice {
	if f, missing := obstacle(findings); missing {
		return Choice{Process, fmt.Sprintf("runc does not work here: %s: %s", f.What, f.Detail)}
	}
	if withoutRoot() {
		return Choice{Runc, "it is the strongest that works here without root"}
	}
	return Choice{Runc, "it is the strongest that works here"}
}

// obstacle is the first thing without which there are no runc containers.
func obstacle(findings []runc.Finding) (runc.Finding, bool) {
	for _, f := range findings {
		if f.Required && !f.OK {
			return f, true
		}
	}
	return runc.Finding{}, false
}

// left counts the containers in a depot, or of which a state directory knows: its directories, but for those of the back end itself.
func left(depot string) (count int) {
	entries, err := os.ReadDir(depot)
	if err != nil {
		return 0 // there is none, or New will say why it cannot be read
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			count++
		}
	}
	return count
}
