package disk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
)

func Example() {
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	machine, err := disk.NewMemory(filepath.Join(dir, "disks"))
	if err != nil {
		panic(err)
	}
	if err := machine.Attach("/dev/sdb", 10<<30); err != nil {
		panic(err)
	}
	manager, err := disk.New(disk.Config{
		System: machine, Resolver: disk.Identity{}, BaseDir: filepath.Join(dir, "vcap"),
		Settings: func(context.Context) (*settings.Settings, error) {
			return settings.Parse([]byte(`{"disks":{"persistent":{"disk-1":"/dev/sdb"}}}`))
		},
	})
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	if err := manager.Mount(ctx, "disk-1"); err != nil {
		panic(err)
	}
	mounted, _ := manager.List(ctx)
	message, _ := manager.Unmount(ctx, "disk-1")
	fmt.Println(mounted, message)
	// Output: [disk-1] Unmounted partition of {ID:disk-1 VolumeID:/dev/sdb Path:/dev/sdb}
}
