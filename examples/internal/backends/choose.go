package backends

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/runc"
)

// The names by which back ends are asked for.
const (
	Auto    = "auto" // the strongest that works here
	Process = "process"
	Runc    = "runc"
)

// trialTime bounds how long it may take to find out what works.
const trialTime = time.Minute

// Names lists what can be asked for.
func Names() []string { return []string{Auto, Process, Runc} }

// Config is what a node says of its containers.
type Config struct {
	// Depot is the directory of the process back end. The others have theirs beside it, with their name added.
	Depot string

	HostIP string // at which apps are reached
	Fresh  bool   // end and remove what an earlier process left
	Logger *slog.Logger
}

func (c Config) depot(name string) string {
	if name == Process {
		return c.Depot
	}
	return c.Depot + "-" + name
}

func (c Config) process() process.Options {
	return process.Options{Depot: c.depot(Process), HostIP: c.HostIP, Fresh: c.Fresh, Logger: c.Logger}
}

func (c Config) runc() runc.Options {
	return runc.Options{Depot: c.depot(Runc), HostIP: c.HostIP, Fresh: c.Fresh, Logger: c.Logger}
}

// A Choice is a back end and why it was taken.
type Choice struct {
	Name string
	Why  string // in words for people, to follow "because"
}

// String is "runc, because it was asked for".
func (c Choice) String() string { return c.Name + ", because " + c.Why }

// Choose finds the back end for a name. It opens nothing; Auto may make a container for trial.
func Choose(ctx context.Context, name string, cfg Config) (Choice, error) {
	switch {
	case !slices.Contains(Names(), name):
		return Choice{}, fmt.Errorf("back end %q is not known: choose one of %s", name, strings.Join(Names(), ", "))
	case name != Auto:
		return Choice{name, "it was asked for"}, nil
	}
	if !cfg.Fresh {
		for _, name := range []string{Process, Runc} {
			if count := left(cfg.depot(name)); count > 0 {
				return Choice{name, fmt.Sprintf("an earlier run left %d containers in %s", count, cfg.depot(name))}, nil
			}
		}
	}
	return strongest(Examine(ctx, cfg)), nil
}

// Examine looks what runc containers lack on this machine.
func Examine(ctx context.Context, cfg Config) []runc.Finding {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	opts := cfg.runc()
	opts.Logger = nil // what it says is in the findings
	return runc.Doctor(ctx, opts)
}

// strongest is what Auto takes where there are no containers.
func strongest(findings []runc.Finding) Choice {
	if f, missing := obstacle(findings); missing {
		return Choice{Process, fmt.Sprintf("runc does not work here: %s: %s", f.What, f.Detail)}
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

// left counts the containers in a depot: its directories, but for those of the back end itself.
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
