package runc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/runc/internal/rootfs"
)

// supervisorPath is where the supervisor is in a container until it runs.
const supervisorPath = "/.supervisor"

// capabilities are the privileges of the user root in a container, and of the supervisor: those that administering the
// container's own files and accounts takes. The users of apps have none.
var capabilities = map[string]int{
	"CAP_CHOWN":            unix.CAP_CHOWN,
	"CAP_DAC_OVERRIDE":     unix.CAP_DAC_OVERRIDE,
	"CAP_FOWNER":           unix.CAP_FOWNER,
	"CAP_FSETID":           unix.CAP_FSETID,
	"CAP_KILL":             unix.CAP_KILL,
	"CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"CAP_SETGID":           unix.CAP_SETGID,
	"CAP_SETPCAP":          unix.CAP_SETPCAP,
	"CAP_SETUID":           unix.CAP_SETUID,
}

func capabilityNames() []string { return slices.Sorted(maps.Keys(capabilities)) }

// seccompProfile returns the system calls that are allowed: Docker's.
func seccompProfile() (*specs.LinuxSeccomp, error) {
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{Process: &specs.Process{
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilityNames()},
	}})
	if err != nil {
		return nil, fmt.Errorf("load the system call filter: %w", err)
	}
	return profile, nil
}

// spec describes the container to runc. Limits are not in it: they can change, so they are set in one way only, by
// ourselves, before there is anything but the supervisor.
func (c *box) spec() *specs.Spec {
	names := c.b.capabilityNames()
	umask := uint32(0o022)
	spec := &specs.Spec{
		Version:  "1.0.2",
		Hostname: c.hostname(),
		Root:     &specs.Root{Path: rootfs.MergedName},
		Process: &specs.Process{
			Args: []string{supervisorPath}, Cwd: "/", NoNewPrivileges: true,
			User: specs.User{Umask: &umask},
			Capabilities: &specs.LinuxCapabilities{
				Bounding: names, Effective: names, Permitted: names,
			},
			Rlimits: standardRlimits(), OOMScoreAdj: oomScore("/proc/self/oom_score_adj"),
		},
		Mounts: standardMounts(),
		Linux: &specs.Linux{
			CgroupsPath: c.b.groups.RuntimePath(c.b.groupPath(c.handle)),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
			},
			Resources:         &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Seccomp:           c.b.seccomp,
			RootfsPropagation: "private",
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
				"/sys/devices/virtual/block", // which names the files of other containers
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if shift := c.b.opts.UserNamespace; shift > 0 {
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(shift), Size: rootfs.ShiftedIDs}}
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = ids, ids
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	if c.b.ids.Inside || c.b.opts.UserNamespace > 0 && c.b.net == nil {
		c.b.adjustMounts(spec)
	}
	if c.b.net != nil {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	for _, m := range c.mounts {
		access := "ro"
		if m.Writable {
			access = "rw"
		}
		spec.Mounts = append(spec.Mounts, specs.Mount{
			Destination: m.Dst, Type: "bind", Source: m.Src, Options: []string{"bind", "nosuid", "nodev", access},
		})
	}
	return spec
}

// maxTerminals bounds the pseudo terminals of one container, as all share a limit of some thousands.
const maxTerminals = "max=256"

func standardMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", maxTerminals},
		},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=64m"},
		},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	}
}

// standardRlimits are those of processes that ask for none. The rest is what this process has.
func standardRlimits() []specs.POSIXRlimit {
	list := []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Hard: 0, Soft: 0}}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil {
		// The Go runtime raises the soft limit of this process.
		const usual = 1024
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Hard: files.Max, Soft: min(usual, files.Max)})
	}
	return list
}

// oomScore returns what processes get in place of what this process has, which is in a file: nothing if it is not negative.
// A node that the kernel is to spare when memory is short must not hand that on, least of all that it is never ended (-1000):
// a container could then not be ended either when it reaches its limit.
func oomScore(file string) *int {
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "-") {
		return nil
	}
	usual := 0
	return &usual
}

// hostname is the handle, as far as it fits.
func (c *box) hostname() string { return c.handle[:min(len(c.handle), 63)] }

// groupPath is the control group of a container; that of an empty handle holds all others.
func (b *Backend) groupPath(handle string) string {
	return filepath.Join("/deakit-"+b.depot.mark, handle)
}
