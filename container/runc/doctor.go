package runc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/container/runc/internal/network"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/containertrial"
)

// A Finding is something that containers need, or are better with.
type Finding struct {
	What     string `json:"what"` // in words for people: "runc"
	OK       bool   `json:"ok"`
	Required bool   `json:"required,omitempty"` // without it there are no containers
	Detail   string `json:"detail,omitempty"`   // what was found
	Remedy   string `json:"remedy,omitempty"`   // what a person at the machine does; empty if OK or if there is nothing to be done
}

// Mark is "ok", "missing" where containers need what is not there, or "without" where they would only be better with it.
func (f Finding) Mark() string {
	switch {
	case f.OK:
		return "ok"
	case f.Required:
		return "missing"
	}
	return "without"
}

// String is one line for people.
func (f Finding) String() string {
	line := fmt.Sprintf("%-8s%s", f.Mark(), f.What)
	if f.Detail != "" {
		line += ": " + f.Detail
	}
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	return line
}

// Doctor looks what this machine has of what containers with these options need, what it lacks, and what to do about it.
// Where nothing required is missing, it makes a container for trial, in a directory of its own, and removes it again; only
// then anything is changed, as New tells. A Depot in the options is looked at and not opened.
//
// For an ordinary user who is not in a user namespace, it looks whether one can be had, and for nothing else: what is in
// there, Doctor tells who calls it again inside (package userns).
func Doctor(ctx context.Context, opts Options) []Finding {
	if os.Geteuid() != 0 {
		return checkEntrance(ctx)
	}
	ids, err := userns.Current()
	if err == nil && ids.Inside {
		return doctorInside(ctx, opts, ids)
	}
	findings := []Finding{{What: "root", Required: true, OK: true}, checkRuntime(ctx, cmp.Or(opts.Runtime, "runc"))}
	findings = append(findings, checkGroups()...)
	findings = append(findings,
		checkFileSystem("overlay", true),
		checkNamespaces(opts.Network.Host),
		checkSeccomp(),
		checkLoop(opts.Disk == DiskLoop),
		checkProgram("tar", "root file systems that are tarballs", "apt-get install tar"),
		checkResource(),
	)
	if !opts.Network.Host {
		findings = append(findings, checkNetwork(), checkForwarding())
	} else {
		findings = append(findings, checkScopes())
	}
	if opts.Depot != "" {
		findings = append(findings, checkDepot(opts.Depot))
	}
	return withTrial(ctx, opts, findings)
}

// withTrial adds a trial where nothing required is missing.
func withTrial(ctx context.Context, opts Options, findings []Finding) []Finding {
	for _, f := range findings {
		if f.Required && !f.OK {
			return findings
		}
	}
	return append(findings, trial(ctx, opts))
}

func checkRuntime(ctx context.Context, name string) Finding {
	f := Finding{What: "runc", Required: true}
	path, err := exec.LookPath(name)
	if err != nil {
		f.Detail, f.Remedy = err.Error(), "apt-get install runc"
		return f
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	first, _, _ := strings.Cut(string(out), "\n")
	f.Detail = path + ", " + first
	switch {
	case err != nil:
		f.Detail, f.Remedy = fmt.Sprintf("%s --version: %v", path, err), "install runc anew"
	case !strings.HasPrefix(first, "runc "):
		f.Remedy = "this is another runtime, which is not supported: apt-get install runc"
	default:
		f.OK = true
	}
	return f
}

func checkGroups() []Finding {
	h, err := cgroup.Find()
	if err != nil {
		const remedy = "mount -t cgroup2 none /sys/fs/cgroup"
		return []Finding{{What: "control groups", Required: true, Detail: err.Error(), Remedy: remedy}}
	}
	findings := []Finding{{What: "control groups", Required: true, OK: true, Detail: "layout " + h.Layout()}}
	for _, limit := range []struct{ controller, what string }{
		{"memory", "memory limits"}, {"cpu", "processor limits"}, {"pids", "process limits"},
	} {
		f := Finding{What: limit.what, OK: h.Has(limit.controller)}
		if !f.OK {
			f.Detail = "there is no controller " + limit.controller
			f.Remedy = "enable it: kernel command line cgroup_enable=" + limit.controller + ", or cgroup.subtree_control above"
		}
		findings = append(findings, f)
	}
	return findings
}

func checkFileSystem(name string, required bool) Finding {
	f := Finding{What: "file system " + name, Required: required}
	text, err := os.ReadFile("/proc/filesystems")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
			f.OK = true
		}
	}
	if !f.OK {
		f.Detail, f.Remedy = "the kernel does not know it", "modprobe "+name
		if err != nil {
			f.Detail = err.Error()
		}
	}
	return f
}

func checkNamespaces(hostNetwork bool) Finding {
	f := Finding{What: "namespaces", Required: true, OK: true}
	names := []string{"pid", "mnt", "ipc", "uts", "cgroup"}
	if !hostNetwork {
		names = append(names, "net")
	}
	for _, name := range names {
		if _, err := os.Stat("/proc/self/ns/" + name); err != nil {
			f.OK, f.Remedy = false, "take a kernel that has them"
			f.Detail += " no " + name
		}
	}
	return f
}

func checkSeccomp() Finding {
	f := Finding{What: "system call filters", Required: true}
	text, err := os.ReadFile("/proc/self/status")
	f.OK = err == nil && strings.Contains(string(text), "\nSeccomp:")
	if !f.OK {
		f.Detail, f.Remedy = "the kernel has none", "take a kernel with CONFIG_SECCOMP_FILTER"
	}
	return f
}

func checkLoop(required bool) Finding {
	f := Finding{What: "disk limits (loop devices)", Required: required, OK: true}
	if err := rootfs.CanLoop(); err != nil {
		f.OK, f.Detail, f.Remedy = false, err.Error(), "apt-get install e2fsprogs; modprobe loop ext4"
	}
	return f
}

func checkProgram(name, what, remedy string) Finding {
	path, err := exec.LookPath(name)
	f := Finding{What: what, OK: err == nil, Detail: path}
	if err != nil {
		f.Detail, f.Remedy = err.Error(), remedy
	}
	return f
}

// checkResource looks for a privilege that trimmed machines lack even for root. Containers do without it.
func checkResource() Finding {
	f := Finding{What: "resource limits above those of this process"}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	f.OK = err == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
	if !f.OK {
		f.Detail = "CAP_SYS_RESOURCE is missing: values above are lowered"
	}
	return f
}

func checkNetwork() Finding {
	f := Finding{What: "network of their own", Required: true, OK: true}
	if err := network.Probe(); err != nil {
		f.OK, f.Detail = false, err.Error()
		f.Remedy = "modprobe nf_tables veth"
	}
	return f
}

func checkForwarding() Finding {
	on, err := network.Forwarding()
	f := Finding{What: "forwarding of packets", OK: err == nil, Detail: "on"}
	switch {
	case err != nil:
		f.Required, f.Detail, f.Remedy = true, err.Error(), "mount -o remount,rw /proc/sys"
	case !on:
		f.Detail = "off; the first container turns it on"
	}
	return f
}

func checkDepot(dir string) Finding {
	f := Finding{What: "depot " + dir, Required: true, OK: true}
	var st unix.Statfs_t
	at := filepath.Clean(dir)
	err := unix.Statfs(at, &st)
	for errors.Is(err, unix.ENOENT) && at != "/" { // what will be made is like what is there
		at = filepath.Dir(at)
		err = unix.Statfs(at, &st)
	}
	switch {
	case err != nil:
		f.OK, f.Detail, f.Remedy = false, err.Error(), "choose another directory"
	case st.Flags&unix.ST_NOEXEC != 0:
		f.OK, f.Detail, f.Remedy = false, "its file system is mounted noexec", "mount -o remount,exec "+at
	case st.Flags&unix.ST_RDONLY != 0:
		f.OK, f.Detail, f.Remedy = false, "its file system is read-only", "choose another directory"
	default:
		f.Detail = fmt.Sprintf("%d MiB free", int64(st.Bavail)*st.Bsize>>20)
	}
	return f
}

// trial makes a container and runs a program in it.
func trial(ctx context.Context, opts Options) Finding {
	f := Finding{What: "a container, for trial", Required: true}
	if err := tryContainer(ctx, opts); err != nil {
		f.Detail = err.Error()
		return f
	}
	f.OK = true
	return f
}

func tryContainer(ctx context.Context, opts Options) error {
	dir := os.TempDir()
	if opts.Depot != "" {
		dir = filepath.Dir(opts.Depot) // on the same file system
	}
	return containertrial.Run(ctx, dir, func(depot string) (*Backend, error) {
		opts.Depot = depot
		return New(opts)
	})
}
