package runc

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/container/runc/userns"
)

// checkEntrance looks what an ordinary user needs to be root of a user namespace.
func checkEntrance(ctx context.Context) []Finding {
	creation, missing := checkNamespaceCreation(ctx)
	ids := Finding{What: "user ids for apps", OK: creation.OK && missing == nil}
	if missing != nil {
		ids.Detail = missing.Error()
		ids.Remedy = fmt.Sprintf("apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, "+
			"with a range that nobody else has; and let nothing forbid setuid programs (NoNewPrivileges, nosuid)", userName())
	}
	entering := checkProgram("nsenter", "entering namespaces", "apt-get install util-linux")
	entering.Required = true
	return []Finding{{
		What: "root", Detail: "this is an ordinary user: no networks of their own, no limits but of memory",
		Remedy: "run as root for these",
	}, checkKernel(), entering, creation, ids}
}

func userName() string {
	if me, err := user.Current(); err == nil {
		return me.Username
	}
	return strconv.Itoa(os.Getuid())
}

// checkKernel looks for overlayfs in user namespaces.
func checkKernel() Finding {
	f := Finding{What: "overlayfs without root", Required: true}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		f.Detail = err.Error()
		return f
	}
	release := unix.ByteSliceToString(name.Release[:])
	var major, minor int
	_, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	f.Detail = "Linux " + release
	if f.OK = err == nil && (major > 5 || major == 5 && minor >= 11); !f.OK {
		f.Remedy = "take Linux 5.11 or later, or run as root"
	}
	return f
}

// checkNamespaceCreation makes a user namespace, and finds the setting that forbids it. missing is why it has one id only.
func checkNamespaceCreation(ctx context.Context) (f Finding, missing error) {
	f = Finding{What: "user namespaces", Required: true}
	ns, err := userns.New(ctx)
	if err == nil {
		missing = ns.Missing()
		// What can be forbidden is to use it.
		out, trialErr := ns.Command(ctx, "mount", "-t", "tmpfs", "none", "/mnt").CombinedOutput()
		if trialErr != nil {
			trialErr = fmt.Errorf("mount in it: %w: %.200s", trialErr, strings.TrimSpace(string(out)))
		}
		err = cmp.Or(trialErr, ns.End(ctx))
	}
	if f.OK = err == nil; f.OK {
		return f, missing
	}
	f.Detail, f.Remedy = err.Error(), "run as root"
	for _, s := range []struct{ file, forbids, remedy string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"},
		{
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			"sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this program that has userns",
		},
	} {
		if text, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(text)) == s.forbids {
			f.Remedy = s.remedy
		}
	}
	return f, missing
}

// doctorInside is Doctor in a user namespace.
func doctorInside(ctx context.Context, opts Options, ids userns.IDs) []Finding {
	findings := []Finding{checkRuntime(ctx, cmp.Or(opts.Runtime, "runc"))}
	findings = append(findings, checkDelegation()...)
	disk := Finding{What: "disk limits", OK: opts.Disk == DiskMemory}
	if !disk.OK {
		disk.Detail = "loop devices take root"
	}
	findings = append(findings,
		checkFileSystem("overlay", true),
		checkNamespaces(true),
		checkSeccomp(),
		disk,
		checkProgram("tar", "root file systems that are tarballs", "apt-get install tar"),
		Finding{What: "network of their own", Detail: "without root, containers share that of the host; egress rules are not enforced"},
		checkScopes(),
	)
	if opts.Depot != "" {
		findings = append(findings, checkDepot(opts.Depot))
	}
	findings = withTrial(ctx, opts, findings)
	if last := &findings[len(findings)-1]; last.OK && ids.Count > 1 {
		last.Detail = fmt.Sprintf("its user is another than this one; there are %d ids", ids.Count)
	} else if last.OK {
		last.Detail = "its user is this one to the kernel"
	}
	return findings
}

// checkScopes looks for what keeps containers on the network of the host from abstract sockets.
func checkScopes() Finding {
	f := Finding{What: "abstract sockets of the host out of reach", OK: supervisor.HasScopes()}
	if !f.OK {
		f.Remedy = "take Linux 6.12 or later, with landlock among the security modules (kernel command line lsm=)"
	}
	return f
}

// checkDelegation looks for control groups that were given to this user. It moves no process.
func checkDelegation() []Finding {
	own, err := cgroup.Delegation()
	f := Finding{What: "control groups", OK: err == nil && own != "", Detail: own}
	if !f.OK {
		f.Detail = "none was given to this user: memory is looked at every second, processes are bounded by a resource limit, processor time is not"
		if err != nil {
			f.Detail = err.Error()
		}
		if _, err := exec.LookPath("systemd-run"); err == nil {
			f.Remedy = "start by systemd-run --user --scope --property=Delegate=yes, or a service with Delegate=yes, on a machine with control groups of version 2"
		}
	}
	return []Finding{f}
}
