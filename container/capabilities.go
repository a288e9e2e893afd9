package container

// Enforcement tells how a limit is enforced.
type Enforcement string

// The kinds of enforcement, from none to the strongest.
const (
	NotEnforced Enforcement = ""        // remembered and reported only
	Watched     Enforcement = "watched" // measured from time to time; a container above it is stopped
	ByKernel    Enforcement = "kernel"  // cannot be exceeded
)

// Capabilities tell what a back end enforces, so that callers can tell people and tests know what to expect. A false
// or empty field is a promise not made; it is never passed over in silence.
type Capabilities struct {
	Name string // of the back end: "process", "runc"

	RootFS         bool // processes see a root file system of their own
	Users          bool // processes run under the account that was asked for
	ReadOnlyMounts bool // read-only bind mounts cannot be written to
	Network        bool // the container has a network of its own
	PortMapping    bool // host port and container port may differ
	EgressRules    bool // traffic is confined to NetOut rules
	Processes      bool // processes of a container cannot see or signal those outside
	Survives       bool // containers outlive the process that made them, and Lookup finds them again
	ReplaysOutput  bool // Attach repeats earlier output

	Memory    Enforcement
	CPU       Enforcement
	Disk      Enforcement
	PIDs      Enforcement
	Bandwidth Enforcement
}

// Unenforced returns, in words for people, what the back end does not enforce; it is empty when all is enforced.
func (c Capabilities) Unenforced() []string {
	var missing []string
	for _, item := range []struct {
		met  bool
		what string
	}{
		{c.RootFS, "own root file system"},
		{c.Users, "own user account"},
		{c.ReadOnlyMounts, "read-only bind mounts"},
		{c.Network, "own network"},
		{c.EgressRules, "egress rules"},
		{c.Processes, "hiding other processes"},
		{c.Memory != NotEnforced, "memory limit"},
		{c.CPU != NotEnforced, "cpu limit"},
		{c.Disk != NotEnforced, "disk limit"},
		{c.PIDs != NotEnforced, "process limit"},
		{c.Bandwidth != NotEnforced, "bandwidth limit"},
	} {
		if !item.met {
			missing = append(missing, item.what)
		}
	}
	return missing
}
