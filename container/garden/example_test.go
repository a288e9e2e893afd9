package garden_test

import (
	"context"
	"fmt"
	"log"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/garden"
)

// It needs a Garden server, and so is not run.
func Example() {
	ctx := context.Background()
	b, err := garden.New(ctx, garden.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	c, err := b.Create(ctx, container.Spec{RootFS: "docker:///busybox", Limits: container.Limits{MemoryBytes: 128 << 20}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Handle())
}
