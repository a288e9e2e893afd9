package resources_test

import (
	"errors"
	"fmt"

	"github.com/deakit/deakit/container/resources"
)

func Example() {
	const mib = 1 << 20
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 1024 * mib, DiskBytes: 4096 * mib})

	app := resources.Amount{MemoryBytes: 600 * mib, DiskBytes: 1024 * mib}
	first, err := ledger.Reserve(app)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = ledger.Reserve(app)
	var short *resources.InsufficientError
	if errors.As(err, &short) {
		fmt.Println("short of", short.Resource)
	}

	first.Release()
	fmt.Println("now fit:", ledger.Reservable(app))
	// Output:
	// short of memory
	// now fit: 1
}
