package container

import (
	"context"
	"io"
	"path"
	"syscall"
	"time"
)

// AppUser is the account that apps and buildpacks run as; its home is AppHome (dea_ng, Warden).
const (
	AppUser = "vcap"
	AppHome = "/home/vcap"
)

// A Backend is a fleet of containers on this machine. Its methods may be called from several goroutines at once.
type Backend interface {
	// Create makes a container. The name is reserved first: of two calls with one handle exactly one succeeds, the
	// other gets ErrExists. A Spec that makes no sense is an ErrInvalid. When Create fails or ctx ends, nothing is left
	// behind.
	Create(ctx context.Context, spec Spec) (Container, error)

	// Lookup finds a live container by its handle, or returns ErrNotFound. Where Capabilities.Survives is true, it
	// also finds containers of an earlier process.
	Lookup(ctx context.Context, handle string) (Container, error)

	// List returns the handles of all containers that exist, in no particular order.
	List(ctx context.Context) ([]string, error)

	// Capabilities tells what the back end really enforces. It does not change during the life of the back end.
	Capabilities() Capabilities
}

// A Container is a set of processes that share limits, files and a network, and end together. Its methods may be
// called from several goroutines at once. After Destroy every method returns ErrNotFound.
type Container interface {
	// Handle is the name of the container, unique within its back end.
	Handle() string

	// Info describes the container as it is now.
	Info(ctx context.Context) (Info, error)

	// Run starts a process. ctx bounds the start only: the process lives on when ctx ends. The streams of pio are
	// copied until the process and all who inherited its output have closed them; nil streams are discarded or
	// empty. A writer that is slow slows the process down; one that fails is written to no more. A Stdin that blocks
	// is for the caller to end. A stopped container answers ErrStopped.
	Run(ctx context.Context, spec ProcessSpec, pio IO) (Process, error)

	// Attach finds a process that Run started, also after it ended, or returns ErrNotFound. Output that came before
	// is not repeated, unless Capabilities.ReplaysOutput is true; output that Run discards, and that of a process that an
	// earlier back end started, need not come at all. Earlier readers keep getting theirs. pio.Stdin must be nil, else
	// ErrUnsupported: the input is Run's.
	Attach(ctx context.Context, id uint32, pio IO) (Process, error)

	// SetLimits replaces the limits of the container; those that the back end cannot enforce are remembered and
	// reported by Info. A negative limit is an ErrInvalid.
	SetLimits(ctx context.Context, limits Limits) error

	// NetIn makes containerPort reachable from outside through hostPort. Zero lets the back end choose: a zero
	// hostPort draws a free port, a zero containerPort takes the number of the host port. The port is given back
	// by Destroy. Where Capabilities.PortMapping is false, ports that differ are an ErrUnsupported. A stopped container
	// answers ErrStopped.
	NetIn(ctx context.Context, hostPort, containerPort uint16) (PortMapping, error)

	// NetOut allows traffic out of the container. Where Capabilities.EgressRules is false, rules are checked,
	// remembered and not enforced. A stopped container answers ErrStopped.
	NetOut(ctx context.Context, rule EgressRule) error

	// StreamIn unpacks a plain tar stream below the directory dir, which it makes if need be. Archive members that
	// would land elsewhere are refused. Files belong to the user, AppUser if empty. A stopped container answers
	// ErrStopped. ctx is looked at between chunks: a tar that blocks is for the caller to end.
	StreamIn(ctx context.Context, dir, user string, tar io.Reader) error

	// StreamOut returns what stands at p as a plain tar stream. As rsync does: for a directory whose path ends in
	// "/", members are named relative to it ("./x"); otherwise they start with its base name. It works on stopped
	// containers too. ctx bounds the whole stream. The caller closes it; an early Close ends the work behind it.
	StreamOut(ctx context.Context, p string) (io.ReadCloser, error)

	// Usage measures the container as it is now.
	Usage(ctx context.Context) (Usage, error)

	// Stop ends all processes: SIGTERM to each, after the back end's grace time SIGKILL; with kill, SIGKILL at
	// once. It returns as soon as the last process is gone. The files stay. A second Stop is harmless. When ctx
	// ends first, Stop returns its error and what remains of the grace time goes on in the background.
	Stop(ctx context.Context, kill bool) error

	// Destroy ends all processes at once and removes every trace of the container. A second Destroy returns
	// ErrNotFound.
	Destroy(ctx context.Context) error
}

// A Process runs, or ran, in a container.
type Process interface {
	// ID numbers the process within its container, from 1. It is not a pid.
	ID() uint32

	// Wait returns when the process has ended and all of its output has been delivered, or when ctx ends. It may be
	// called any number of times. If nobody saw how the process ended it returns -1 and ErrStatusUnknown: that takes more
	// than the end of the process that made the back end, where Capabilities.Survives is true.
	Wait(ctx context.Context) (ExitStatus, error)

	// Signal sends sig to the process and those in its process group. A process that has ended is no error.
	Signal(ctx context.Context, sig syscall.Signal) error
}

// ExitStatus is what a process ended with: 0 to 255, and 128+n when signal n ended it.
type ExitStatus int

// Spec describes a container to be made. The zero Spec is valid.
type Spec struct {
	// Handle is the name: 1 to 64 letters, digits, '-' and '_'. Empty lets the back end draw one.
	Handle string

	// RootFS is the directory to use as root file system. Empty takes the back end's default. It has no effect
	// where Capabilities.RootFS is false.
	RootFS string

	BindMounts []BindMount
	Limits     Limits

	// Env is given to every process, in the form NAME=value, before the environment of the process itself.
	Env []string

	// Properties are kept with the container and returned by Info: a mark of the owner, for example.
	Properties map[string]string
}

// A BindMount shows a path of the host inside a container.
type BindMount struct {
	Src      string // on the host, absolute
	Dst      string // in the container, absolute; empty means Src
	Writable bool   // false: read-only, as far as Capabilities.ReadOnlyMounts goes
}

// Limits bound a container. Zero means no limit.
type Limits struct {
	MemoryBytes int64
	DiskBytes   int64
	DiskInodes  int64
	CPUShares   int64      // relative weight, 1024 is the weight of an unlimited neighbour
	CPUQuota    float64    // cores: 0.5 is half a core
	PIDs        int64      // processes and threads
	Bandwidth   *Bandwidth // nil means no limit
}

// Bandwidth limits network traffic in each direction.
type Bandwidth struct {
	BytesPerSecond int64
	BurstBytes     int64
}

// A ProcessSpec describes a process to be started.
type ProcessSpec struct {
	// Path is the program: absolute, a name that is looked up in the PATH of Env, else in
	// /usr/local/bin:/usr/bin:/bin, or a relative path with a slash, which is taken from Dir. Args follow it; they do
	// not repeat Path.
	Path string
	Args []string

	// Env is the environment in the form NAME=value, else ErrInvalid; later entries win. The back end adds HOME, USER, PATH and LANG
	// where neither Env nor Spec.Env has them, and nothing of its own environment.
	Env []string

	// Dir is the working directory as a path of the container (not passed through Info.Inside). Empty means the
	// home of the user.
	Dir string

	// User is the account, AppUser if empty. "root" asks for the privileges of the container's owner.
	User string

	Rlimits Rlimits
}

// Rlimits are resource limits of a process (setrlimit(2)); nil keeps what the back end gives. A value above the hard
// limit that the back end itself has is lowered to that.
type Rlimits struct {
	NoFile *uint64 // open files
	NProc  *uint64 // processes of the user
	FSize  *uint64 // bytes of one file
	Core   *uint64 // bytes of a core dump
	AS     *uint64 // bytes of address space
	CPU    *uint64 // seconds of processor time
	Stack  *uint64 // bytes
}

// IO are the streams of a process; nil means empty input or discarded output. Stdout and Stderr may be the same
// writer; it is then written to by one goroutine at a time.
type IO struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// State of a container.
type State string

// The states of a container.
const (
	StateActive  State = "active"  // processes may be started
	StateStopped State = "stopped" // by Stop, or by the back end because of an event
)

// EventOutOfMemory is the text of the event that a back end records before it stops a container for using more memory
// than its limit (Warden).
const EventOutOfMemory = "out of memory"

// Info describes a container.
type Info struct {
	State  State
	Events []string // in the order in which they came; nil when none did

	// HostIP is the address at which mapped ports are reached; ContainerIP the container's own, equal to HostIP
	// where it shares the host's network.
	HostIP      string
	ContainerIP string

	// Path is the container's directory on the host, with the files below rootfs/ or tmp/rootfs/ as Warden lays
	// them out. Empty where the host cannot see them.
	Path string

	// Root is what Inside puts before a path of the container; empty where the container has its own root.
	Root string
	// HostRoot is what OnHost puts before a path of the container; empty where the host cannot see the files.
	HostRoot string

	Ports      []PortMapping
	Processes  []uint32 // those that have not ended
	Limits     Limits   // as asked for
	Properties map[string]string
}

// Inside returns the name by which processes of the container know the path p of the container.
func (i Info) Inside(p string) string { return i.Root + path.Clean("/"+p) }

// OnHost returns the name by which the host knows the path p of the container, and whether it can see it at all. The
// files belong to the container: whoever opens them must expect links that point anywhere.
func (i Info) OnHost(p string) (string, bool) {
	if i.HostRoot == "" {
		return "", false
	}
	return i.HostRoot + path.Clean("/"+p), true
}

// A PortMapping makes a port of a container reachable at Info.HostIP.
type PortMapping struct {
	HostPort      uint16
	ContainerPort uint16
}

// Usage is what a container uses.
type Usage struct {
	MemoryBytes int64
	DiskBytes   int64
	CPUTime     time.Duration // of all processes since the container was made, also ended ones as far as is known
	Processes   int
	At          time.Time // when it was measured
}

// CPU returns the fraction of one core used between an earlier measurement and this one: 2.0 is two whole cores. It is 0
// when no time passed or a counter went backwards.
func (u Usage) CPU(earlier Usage) float64 {
	elapsed, used := u.At.Sub(earlier.At), u.CPUTime-earlier.CPUTime
	if elapsed <= 0 || used < 0 {
		return 0
	}
	return float64(used) / float64(elapsed)
}
