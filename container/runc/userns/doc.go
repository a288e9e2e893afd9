// Package userns makes an ordinary user the root of a user namespace, in which container/runc works: a process in it may
// mount, change owners and make namespaces, but only what belongs to the namespace, and has no power over the machine.
//
// A program that wants containers without root enters a namespace before it does anything else, as only a process with
// one thread can, and a Go program has more: [Namespace.Enter] replaces the process by the same program inside.
//
//	if os.Geteuid() != 0 {
//		ns, err := userns.Open(ctx, "/home/me/node/namespace")
//		if err != nil {
//			return err
//		}
//		return ns.Enter(os.Args, os.Environ()) // does not return unless it fails
//	}
//	backend, err := runc.New(runc.Options{Depot: "/home/me/node/depot"})
//
// # Which ids there are
//
// Id 0 in the namespace is the user who made it. The others are those that /etc/subuid and /etc/subgid give to the user,
// as far as the setuid programs newuidmap and newgidmap are installed (Debian's package uidmap), and count from 1. Where
// either is missing or fails, 0 is the only id that there is; [Namespace.Missing] tells why.
//
// # How long it lives
//
// A namespace that was opened by a file lives on when the process ends, as what stands in it may: a process that sleeps
// holds it, and the file tells which. [Namespace.End] ends that. With it ends what was mounted in the namespace, but not
// its processes.
package userns
