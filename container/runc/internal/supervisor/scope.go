package supervisor

import "golang.org/x/sys/unix"

// Landlock (landlock(7)) lets processes not connect to abstract Unix sockets but to those of their container: no file
// system protects these, and who serves there may trust a user whom the container has. A container with a network of its
// own sees none of others anyway.

// firstWithScopes is the version of Landlock's interface that has them, of Linux 6.12.
const firstWithScopes = 6

// HasScopes tells whether the kernel can keep processes from the abstract sockets of others.
func HasScopes() bool {
	version, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return err == 0 && version >= firstWithScopes
}

// scope adds the system calls. No descriptor from 5 on is open. Where the kernel cannot do it, they fail, which HasScopes
// tells beforehand.
func scope(l *list) {
	const ruleset = deathsFD // the next one that is free
	attributes := l.words(0, 0, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
	l.try(unix.SYS_LANDLOCK_CREATE_RULESET, attributes, 3*8, 0)
	l.try(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
	l.try(unix.SYS_CLOSE, ruleset)
}
