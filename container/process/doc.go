// Package process is the container back end without isolation: a container is a directory of the host and the child
// processes started for it. It needs no privileges, no image and no tool, so it works on every Linux, and it suits
// development, tests and trusted apps.
//
// It is no sandbox. Processes run under the account of the caller, see the host's files, network and processes, and can
// do to them what the caller can. [Backend.Capabilities] says what is not enforced. What it does
// promise:
//
//   - an environment of its own, a directory tree that stands for the root file system, and the resource limits of
//     ProcessSpec;
//   - output that arrives complete, whatever the bytes, and exact exit statuses;
//   - ends: Stop and Destroy find all processes of a container, also those that made a session of their own or lost
//     their parents, and never signal any other. A process that leaves its parents, its session and its environment
//     behind, all three, cannot be told from a stranger and escapes;
//   - ports that no other back end of this host is using;
//   - a memory limit that is watched: a container above it is stopped, with the event container.EventOutOfMemory;
//   - containers that outlive a back end which was killed: the next New on the same depot adopts them.
//
// # Files
//
// The container named h keeps its files below <depot>/h/rootfs, and a path of the container means a path there: pass
// paths through container.Info.Inside before handing them to a process. Bind mounts are symbolic links there to their
// source, never read-only. File operations of the back end itself stay below that directory, and below the sources of
// the bind mounts, whatever links the container's processes plant.
//
// # Adoption
//
// A program that is killed (kill -9, a crash) does not come to [Backend.Close], which destroys all containers. Its
// processes run on, and the lock on the depot is free. The next New finds there, for each container, a record of all that
// Info tells, and for each process a file with its pid and start time, and with its exit status if it has ended. Exit
// statuses are written down by supervisors: the parent of each process is a program of one page that does nothing but
// wait for it; it has no part in its session, its process group or its signals, and keeps the ports of the container
// reserved while there is no back end. Limits are watched again from then on, and whatever was being stopped or destroyed
// goes on to be. A container that was half made, or whose record is damaged or of another depot, is removed, and the log says so.
// Options.Fresh removes all.
//
// What is lost:
//
//   - Output. A process that writes to a stream that somebody read gets SIGPIPE or EPIPE when the reader is gone, as
//     everywhere; output that nobody asked for goes to the null device and can be written for ever. An input ends.
//   - An exit status, as container.ErrStatusUnknown, when the supervisor was killed too, and when the process ended
//     because the machine did. So it is for all processes of an earlier back end where there are no supervisors: on
//     processors other than amd64 and arm64, and where the system forbids to execute what is in memory (memfd_create(2),
//     vm.memfd_noexec). New says so in the log. There, resource limits need ptrace(2).
//   - The processor time that orphans used before.
//   - The reservation of a port, when no process that was started after NetIn lives and somebody else takes it before the
//     next New. The log says so.
//
// All of a depot belongs to one account, and so do the processes of containers: they can change records, exit statuses
// and their supervisors. The record holds the environment of the container, for the eyes of its owner only.
//
// A process is known by pid, start time and session, or by a mark in its environment; nothing else is ever signalled. A
// service manager that ends a service by its cgroup ends all containers with it: systemd needs KillMode=process.
//
// Ended orphans are reaped by the init process of the machine. A process that embeds this package and is itself that
// init (pid 1 in a Docker container, say) should run under a small init such as tini.
package process
