//go:build 386 || arm

package directory

import "golang.org/x/sys/unix"

// The older call has ids of 16 bits.
const sysSetgroups = unix.SYS_SETGROUPS32
