package vitals_test

import (
	"fmt"

	"github.com/deakit/deakit/agent/vitals"
)

func Example() {
	source := vitals.New(vitals.Config{Ephemeral: "/none/at/all"})
	// In a program, source.Run watches the processors meanwhile.
	v, err := source.Read()
	fmt.Println(len(v.Load), v.Disk.System != nil, v.Disk.Ephemeral == nil, err)
	// Output: 3 true true <nil>
}
