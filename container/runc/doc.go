// Package runc is the container back end for apps that nobody trusts: containers by an OCI runtime, runc, with namespaces,
// control groups, a system call filter, a root file system and a network of their own. It needs Linux and runc, and root
// for all of it; [Doctor] tells what is there and what is missing, and [Backend.Capabilities] what is enforced.
//
// # What a container sees
//
// A root file system, put together of a base that many share and none can change and a layer of its own ([Options].RootFS,
// [Options].Disk). In it, an account container.AppUser with a user id that no other container has, its home, which is
// empty, /app, a link to the directory app in it, and empty directories /tmp and /var/tmp. Where the base is the root of
// the host, what holds secrets there or belongs to others is hidden ([Options].Hide).
//
// No process of others, no device but the harmless ones, no more privileges than an ordinary user has, or, for processes
// of the user root, than administering the container takes: none of them can mount, load, trace or reconfigure anything.
// The network is as internal/network tells: nothing may go out but what NetOut allows, and nothing reaches the host.
//
// As root there is no user namespace, unless Options.UserNamespace asks for it: root in a container is root to the kernel,
// but for the privileges that it has not. So it can read what only root can read in a base that is the root of the host,
// and is not hidden. Whoever runs what he does not trust as root takes a user namespace, or a base of its own
// (Options.RootFS). Files that are streamed in are written as if their user did.
//
// # Without root
//
// An ordinary user has containers too, on Linux 5.11 or later, in a process that has entered a user namespace before
// (package userns), where it may mount and change owners. They have all of the above but this:
//
//   - The network is the host's: a port of the host is that of the container, egress rules are remembered only, and
//     before Linux 6.12 (or without its Landlock), abstract sockets of the host can be connected to. Who serves there
//     sees the caller come where a process is root in its container or the caller's id is the only one.
//   - Limits are enforced where a control group of version 2 was given to the user (a service with Delegate=yes). Else
//     memory is measured every second, and a container above its limit is stopped; processes of the app user are bounded
//     by RLIMIT_NPROC, each when it is started; processor time, disk (but by DiskMemory) and bandwidth are not limited.
//   - Root in a container is the caller, but for what is not in the container. container.AppUser is another user to the
//     kernel, another one in each container, where the caller has such ids to give (/etc/subuid, newuidmap), and may not
//     read what the caller keeps to himself. Where the caller's id is the only one, all processes have it, whatever user
//     they were to have, without privileges, and with the groups of the caller: only what is in the container protects
//     what is the caller's.
//   - A base with file systems mounted in it, as the root of the host is, is put together of its directories. What is
//     directly in those that have a mount below them is copied, if it is small.
//
// A container ends with the namespaces: where these were lost, as the process that held them was killed, New removes it.
//
// # Survival
//
// A container lives on when the process that made it ends, however that comes. Its processes are started, reaped and
// recorded by a supervisor of some hundred bytes inside of it (internal/supervisor), and the next back end on the same
// depot adopts it: with exit statuses of processes that ended meanwhile, with ports, rules and limits, and with what was
// written to streams and not read yet. What was half made or half removed, [New] removes. [Backend.Leave] lets go of the
// containers, [Backend.Close] ends them.
//
// # What is left on the host
//
// Everything carries the mark of the depot, eight digits: below <depot>, directories and mounts of the containers;
// control groups below /deakit-<mark>; network interfaces dk<six digits of it>-<number>, as their names are short; and
// one nftables table deakit_<mark>. Destroy removes what belongs to a container, Close the rest; nothing without the mark
// is ever touched. One setting of the machine is changed: that packets are forwarded (net.ipv4.ip_forward), without which
// containers have no network.
//
// Other firewalls have their say too: where another table drops forwarded packets, as Docker's does, containers reach
// nothing outside.
package runc
