//go:build amd64 || arm64

package supervisor

import (
	"debug/elf"
	"runtime"
	"unsafe"
)

// code tells where the machine code of the supervisor begins and ends (program_*.s). Position does not matter to it.
func code() (start, end unsafe.Pointer)

var machine = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
