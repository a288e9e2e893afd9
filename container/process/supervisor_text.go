//go:build amd64 || arm64

package process

import (
	"debug/elf"
	"runtime"
	"unsafe"
)

// supervisorText tells where the code of the supervisor begins and ends. Position does not matter to it.
func supervisorText() (start, end unsafe.Pointer)

var supervisorMachine = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
