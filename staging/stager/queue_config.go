package stager

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// QueueConfig says how a [Queue] works. The zero value is useful.
type QueueConfig struct {
	// Queues are the subjects, and queue groups of the same names, from which requests are taken; default one, "staging". A
	// [Stager] of later years takes requests of another form from there, unless Config.NoQueue is set: not both on one bus.
	Queues []string

	// Old also takes requests of before 2012-05-02, from the subjects vcap.stager.<queue>.
	Old bool

	// BaseDir gets a directory for each task, mode 0700, while it runs; default os.TempDir. Several stagers may share it: what
	// an earlier process left there is removed, what another one works with is not.
	BaseDir string

	MaxActive  int // tasks at work at the same time; default 10
	MaxWaiting int // requests that wait for their turn, beyond which they are refused; default 1000

	// MaxDuration bounds a task from its first step to the end of the upload; default 120 s. The time in which a request waits
	// for its turn is not counted.
	MaxDuration time.Duration

	// Secure refuses a back end whose containers do not run what apps bring along under accounts of their own, or let them see
	// the processes of others.
	Secure bool

	// RootFS of the containers, empty for the back end's default; MemoryMB and DiskMB are what a task may use, default
	// 1024 and 2048; CPUShares default 512, Processes 4096, DiskInodes 200,000.
	RootFS                           string
	MemoryMB, DiskMB                 int64
	CPUShares, Processes, DiskInodes int64

	// MaxPackageBytes bounds the download of an app; default 2 GiB.
	MaxPackageBytes int64

	// Frameworks say how plugins stage. Log, Limits, Unbound and TempDir have no effect: droplets are for a DEA that knows where
	// its runtimes are.
	Frameworks framework.BuildpackOptions

	// Owner marks the containers of this stager, as Config.Owner does; empty makes it from BaseDir. No other one that works with
	// the same back end may have it.
	Owner string

	// Git and Archive say how buildpacks are fetched that requests for the framework "buildpack" name.
	Git     buildpack.GitOptions
	Archive buildpack.ArchiveOptions
}

// QueueParts are what a [Queue] works with. All but Conn and Backend may be nil.
type QueueParts struct {
	Conn    *nats.Conn        // the caller closes it, after Run
	Backend container.Backend // in which programs of apps run; the caller closes it, after Run

	Plugins    []framework.Plugin    // nil means framework.Plugins
	Buildpacks []buildpack.Buildpack // for requests with the framework "buildpack", in the order in which they are tried

	Logger *slog.Logger // nil discards
}

func (c QueueConfig) withDefaults() QueueConfig {
	if len(c.Queues) == 0 {
		c.Queues = []string{"staging"}
	}
	c.BaseDir = cmp.Or(c.BaseDir, os.TempDir())
	c.MaxActive = cmp.Or(c.MaxActive, 10)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, 1000)
	c.MaxDuration = cmp.Or(c.MaxDuration, 120*time.Second)
	c.MemoryMB = cmp.Or(c.MemoryMB, 1024)
	c.DiskMB = cmp.Or(c.DiskMB, 2048)
	c.CPUShares = cmp.Or(c.CPUShares, 512)
	c.Processes = cmp.Or(c.Processes, 4096)
	c.DiskInodes = cmp.Or(c.DiskInodes, 200_000)
	c.MaxPackageBytes = cmp.Or(c.MaxPackageBytes, 2<<30)
	return c
}

// maxActive bounds MaxActive: each of them is a goroutine, and a container.
const maxActive = 10_000

func (c QueueConfig) validate() error {
	var errs []error
	for i, name := range c.Queues {
		if !messaging.IsSubject(name) {
			errs = append(errs, fmt.Errorf("Queues[%d]: %q is no subject: parts without '*', '>' and blanks, with dots between them", i, name))
		}
		if slices.Contains(c.Queues[:i], name) {
			errs = append(errs, fmt.Errorf("Queues[%d]: %q is there twice", i, name))
		}
	}
	if c.MaxActive > maxActive {
		errs = append(errs, fmt.Errorf("MaxActive must be at most %d", maxActive))
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"MaxActive", int64(c.MaxActive)}, {"MaxWaiting", int64(c.MaxWaiting)}, {"MaxDuration", int64(c.MaxDuration)},
		{"MemoryMB", c.MemoryMB}, {"DiskMB", c.DiskMB}, {"CPUShares", c.CPUShares}, {"Processes", c.Processes},
		{"DiskInodes", c.DiskInodes}, {"MaxPackageBytes", c.MaxPackageBytes},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", field.name))
		}
	}
	return errors.Join(errs...)
}

// ErrNotSecure: the back end does not confine what QueueConfig.Secure wants confined.
var ErrNotSecure = errors.New("secure mode needs containers with accounts and processes of their own")

func (p QueueParts) validate(secure bool) error {
	var errs []error
	if p.Conn == nil {
		errs = append(errs, errors.New("QueueParts.Conn is required"))
	}
	if p.Backend == nil {
		return errors.Join(append(errs, errors.New("QueueParts.Backend is required"))...)
	}
	if caps := p.Backend.Capabilities(); secure && !(caps.Users && caps.Processes) {
		errs = append(errs, fmt.Errorf("%w; the back end %s has none", ErrNotSecure, caps.Name))
	}
	return errors.Join(errs...)
}

// absolute completes what depends on the working directory.
func (c *QueueConfig) absolute() (err error) {
	if c.BaseDir, err = filepath.Abs(c.BaseDir); err != nil {
		return fmt.Errorf("BaseDir: %w", err)
	}
	c.Owner = cmp.Or(c.Owner, "stager of queues "+c.BaseDir)
	return nil
}
