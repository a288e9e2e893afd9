// Package process is the container back end without isolation: a container is a directory of the host and the child
// processes started for it. It needs no privileges, no image and no tool, so it works on every Linux, and it suits
// development, tests and trusted apps.
//
// It is no sandbox. Processes run under the account of the caller, see the host's files, network and processes, and can
// do to them what the caller can. [Backend.Capabilities] says what is not enforced, and [New] logs it once. What it
// does promise:
//
//   - an environment of its own, a directory tree that stands for the root file system, and the resource limits of
//     ProcessSpec (for which the caller must be allowed to use ptrace(2), as it is unless a sandbox forbids it);
//   - output that arrives complete, whatever the bytes, and exact exit statuses;
//   - ends: Stop and Destroy find all processes of a container, also those that made a session of their own or lost
//     their parents, and never signal any other. A process that leaves its parents, its session and its environment
//     behind, all three, cannot be told from a stranger and escapes;
//   - ports that no other back end of this host is using;
//   - a memory limit that is watched: a container above it is stopped, with the event container.EventOutOfMemory;
//   - after a crash, the next New on the same depot ends and removes what was left.
//
// # Files
//
// The container named h keeps its files below <depot>/h/rootfs, and a path of the container means a path there: pass
// paths through container.Info.Inside before handing them to a process. Bind mounts are symbolic links there to their
// source, never read-only. File operations of the back end itself stay below that directory, and below the sources of
// the bind mounts, whatever links the container's processes plant.
//
// Ended orphans are reaped by the init process of the machine. A process that embeds this package and is itself that
// init (pid 1 in a Docker container, say) should run under a small init such as tini.
package process
