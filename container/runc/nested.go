package runc

import (
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/runc/internal/supervisor"
)

// Where this process's user namespace has one id only, the containers' processes have it too, whatever user they are to
// have. As it is that of root there, and programs act differently then (tar restores owners, which fails), each container
// has a user namespace within, where the id has another name and no privileges.

// nestedUID is the user and group id that stands for the only one.
const nestedUID = unprivilegedUIDs

// nested tells the supervisor whether to enter a namespace of its own.
func (b *Backend) nested() *supervisor.Nested {
	if !b.slots.shared() {
		return nil
	}
	return &supervisor.Nested{UID: nestedUID, GID: nestedUID}
}

// allowNesting adds to a system call filter what the supervisor needs, and then forbids itself.
func allowNesting(filter *specs.LinuxSeccomp) {
	filter.Syscalls = append(filter.Syscalls, specs.LinuxSyscall{
		Names: []string{"unshare"}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: unix.CLONE_NEWUSER, Op: specs.OpEqualTo}},
	})
}

// capabilityNames are the privileges of the supervisor.
func (b *Backend) capabilityNames() []string {
	names := capabilityNames()
	if b.slots.shared() {
		names = append(names, "CAP_SETFCAP") // to give another name to the id of root
	}
	return names
}

// capabilitiesToDrop are those that no process has but root's, which could come by them otherwise.
func (b *Backend) capabilitiesToDrop() []int {
	var list []int
	if b.slots.shared() { // the supervisor has all, of its own namespace
		for number := range lastCapability() + 1 {
			list = append(list, number)
		}
		return list
	}
	for _, number := range capabilities {
		list = append(list, number)
	}
	slices.Sort(list)
	return list
}

// lastCapability is the highest one that the kernel knows.
func lastCapability() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	last, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || convErr != nil {
		return unix.CAP_LAST_CAP
	}
	return last
}
