package stager

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// A Stack is a root file system by name.
type Stack struct {
	Name   string
	RootFS string // directory of the host; empty takes the back end's default
}

// Config of a stager. ID and BaseDir are required.
type Config struct {
	// ID names the stager in subjects and messages: that of the DEA that it stands beside.
	ID string

	// BaseDir gets the directory staging/, which holds what tasks need while they run. It and those above it must be
	// open to the user of containers, who reads custom buildpacks there.
	BaseDir string

	// Stacks that can be staged on; the first one is for requests that name none. Default one, "cflinuxfs2".
	Stacks []Stack

	// MemoryMB and DiskMB are the least that a task gets and reserves, whatever the app's own limits; default 1024 and
	// 2048.
	MemoryMB, DiskMB int64

	DiskInodes int64 // default 200,000
	CPUShares  int64 // default 512
	Processes  int64 // most processes and threads of a container; default 4096 (the original has no limit)

	// WorkspaceMB bounds what the files of a task may take outside of its container, package, caches and droplet together;
	// default twice the disk of the task. What custom buildpacks may take, Git and Archive say.
	WorkspaceMB int64

	Bandwidth  *container.Bandwidth  // nil means no limit
	BindMounts []container.BindMount // shown in every container, besides the buildpacks

	// Environment has variables, NAME=value, for every buildpack; those of the request come after them and win.
	Environment []string

	// MaxDuration is how long buildpacks may work; default 900 s. StepTimeout bounds each step of the set-up, and the
	// unpacking and packing; default 15 minutes.
	MaxDuration time.Duration
	StepTimeout time.Duration

	// ModTime makes droplets equal whose content is, see staging.Task.
	ModTime time.Time

	// MaxPackageBytes bounds the download of an app package and of a cache; default 2 GiB.
	MaxPackageBytes int64

	// NoAdvertise leaves out staging.advertise, for a DEA whose dea.advertise speaks for both (dea_ng from 2016).
	NoAdvertise bool

	// AdvertiseInterval is the pause between two advertisements; default 5 s.
	AdvertiseInterval time.Duration

	// NoQueue leaves out the subject staging, on which any one of all stagers was asked until 2016.
	NoQueue bool

	// CallbackURL is the internal API of the Cloud Controller, with user info: the results of [Stager.Stage] go there, and
	// the list of the admin buildpacks that are fetched ahead of time comes from there. Empty means that there is none, and
	// that Stage takes nothing.
	CallbackURL string

	// Owner marks the containers of this stager (the property "owner"), so that a later process removes those that were
	// left behind, and no others. It has to stay the same from process to process; empty makes it from BaseDir.
	Owner string

	// LogURL makes the URL under which people follow the log of a task: path is a path of the staging container. Nil
	// means that there is none.
	LogURL func(taskID, path string) string

	// LogLinger is how long the log can be read after the last answer; default 8 s. Clients that get nothing for 5 s come back
	// for the rest (cfoundry), so it is longer than that: one whose connection hangs has another chance.
	LogLinger time.Duration

	// Adapt may have a task staged in another way than by the buildpacks that its request names: by the plugin of a framework,
	// for example, as Task.Custom. It is called before the task begins, and what it fails with fails the task. Nil leaves
	// all as it is.
	Adapt func(messaging.StagingRequest, *staging.Task) error

	// CacheOptional lets a task succeed when only the packing or the upload of its cache failed.
	CacheOptional bool

	// PollInterval is the pause between two looks at an upload that the Cloud Controller finishes by itself; default 1 s.
	PollInterval time.Duration

	// Git and Archive say how custom buildpacks are fetched.
	Git     buildpack.GitOptions
	Archive buildpack.ArchiveOptions
}

// Parts are what a stager works with. Start, Leaving, Droplets, Logs, Changed and Logger may be nil.
type Parts struct {
	Conn       *nats.Conn        // the caller closes it, after Run
	Backend    container.Backend // the caller closes it, after Run
	Ledger     *resources.Ledger // shared with whoever else takes memory and disk of this machine
	Buildpacks *buildpack.Store  // the admin buildpacks; the caller closes it, after Run

	// Droplets gets each droplet that was uploaded.
	Droplets *droplet.Store

	// Start starts instance 0, whose droplet is in Droplets then, in the room that the reservation holds, which is as large as
	// the instance needs it. The reservation belongs to Start. It must not wait.
	Start func(messaging.StartMessage, *resources.Reservation)

	// Leaving tells that Start would start nothing any more: it is asked before the last answer says that instance 0 is
	// started here. Nil means never.
	Leaving func() bool

	// Logs gets what is written while staging, line by line, besides the file that LogURL leads to; nil discards.
	Logs applog.Emitter

	// Changed is called when a task has come, has got its container, or is gone. It must not wait.
	Changed func()

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	if len(c.Stacks) == 0 {
		c.Stacks = []Stack{{Name: "cflinuxfs2"}}
	}
	c.MemoryMB = cmp.Or(c.MemoryMB, 1024)
	c.DiskMB = cmp.Or(c.DiskMB, 2048)
	c.DiskInodes = cmp.Or(c.DiskInodes, 200_000)
	c.CPUShares = cmp.Or(c.CPUShares, 512)
	c.Processes = cmp.Or(c.Processes, 4096)
	c.MaxDuration = cmp.Or(c.MaxDuration, staging.DefaultTimeout)
	c.StepTimeout = cmp.Or(c.StepTimeout, 15*time.Minute)
	c.MaxPackageBytes = cmp.Or(c.MaxPackageBytes, 2<<30)
	c.AdvertiseInterval = cmp.Or(c.AdvertiseInterval, 5*time.Second)
	if c.Owner == "" {
		dir, err := filepath.Abs(c.BaseDir)
		if err != nil { // there is no working directory
			dir = c.BaseDir
		}
		c.Owner = "stager " + dir
	}
	c.LogLinger = cmp.Or(c.LogLinger, 8*time.Second)
	return c
}

func (c Config) validate() error {
	var errs []error
	if !messaging.IsToken(c.ID) {
		errs = append(errs, fmt.Errorf("ID %q must not be empty or contain '.', '*', '>' or blanks: it becomes part of a subject", c.ID))
	}
	if c.BaseDir == "" {
		errs = append(errs, errors.New("BaseDir is required"))
	}
	for i, stack := range c.Stacks {
		if stack.Name == "" {
			errs = append(errs, fmt.Errorf("Stacks[%d].Name is required", i))
		}
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"MemoryMB", c.MemoryMB}, {"DiskMB", c.DiskMB}, {"DiskInodes", c.DiskInodes}, {"CPUShares", c.CPUShares},
		{"Processes", c.Processes}, {"WorkspaceMB", c.WorkspaceMB}, {"StepTimeout", int64(c.StepTimeout)}, {"MaxDuration", int64(c.MaxDuration)}, {"MaxPackageBytes", c.MaxPackageBytes},
		{"AdvertiseInterval", int64(c.AdvertiseInterval)}, {"LogLinger", int64(c.LogLinger)}, {"PollInterval", int64(c.PollInterval)},
	} {
		if field.value < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", field.name))
		}
	}
	return errors.Join(errs...)
}

func (p Parts) validate() error {
	var errs []error
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"Conn", p.Conn == nil}, {"Backend", p.Backend == nil}, {"Ledger", p.Ledger == nil}, {"Buildpacks", p.Buildpacks == nil},
	} {
		if part.missing {
			errs = append(errs, fmt.Errorf("Parts.%s is required", part.name))
		}
	}
	if p.Start != nil && p.Droplets == nil {
		errs = append(errs, errors.New("Parts.Droplets is required with Parts.Start: instances are started from there"))
	}
	return errors.Join(errs...)
}
