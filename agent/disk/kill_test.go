package disk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
)

// migrateHere names the base directory in a child that migrates and is killed. The settings are in a file there.
const migrateHere = "DEAKIT_TEST_MIGRATE"

func migrateAsChild(base string) {
	manager, err := disk.New(disk.Config{System: disk.Linux{}, Resolver: disk.Identity{}, BaseDir: base,
		Settings: settings.File{Path: filepath.Join(base, "settings.json")}.Settings})
	if err == nil {
		fmt.Println("begin")
		err = manager.Migrate(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// reap waits for what the child has started. It is killed with it, but what it does in the kernel it does to the end. A
// service manager waits likewise.
func reap() {
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			return
		}
	}
}

// TestMigrationThatIsKilled at some moment: a new agent mounts a disk that has all the data, and migrates in the end.
func TestMigrationThatIsKilled(t *testing.T) {
	require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	defer func() { require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)) }()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			machine := loops(t)
			oldDevice, newDevice := machine.disk("old"), machine.disk("new")
			manager := machine.manager(func(c *disk.Config) { c.UnmountTries, c.UnmountDelay = 600, 50*time.Millisecond })
			ctx := t.Context()
			require.NoError(t, manager.Mount(ctx, "old"))
			for i := range 400 {
				write(t, filepath.Join(manager.Store(), fmt.Sprint("d", i%7), fmt.Sprint(i)), fmt.Sprint("content of ", i))
			}
			require.NoError(t, manager.Mount(ctx, "new"))
			document := fmt.Sprintf(`{"agent_id":"a","disks":{"persistent":{"old":%q,"new":%q}}}`, oldDevice, newDevice)
			write(t, filepath.Join(machine.base, "settings.json"), document)

			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), migrateHere+"="+machine.base)
			child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())
			_, err = out.Read(make([]byte, 6))
			require.NoError(t, err)
			random := rand.New(rand.NewPCG(seed, 1))
			<-time.After(time.Duration(random.IntN(60)) * time.Millisecond) // the moment is what is tried
			require.NoError(t, child.Process.Kill())
			_ = child.Wait() // killed, or done before
			reap()

			require.NoError(t, manager.MountAtBoot(ctx))
			check := func() {
				t.Helper()
				for i := range 400 {
					require.Equal(t, fmt.Sprint("content of ", i), read(t, filepath.Join(manager.Store(), fmt.Sprint("d", i%7), fmt.Sprint(i))))
				}
				write(t, filepath.Join(manager.Store(), "can be written to"), "")
			}
			check()
			if last, err := manager.LastMounted(); last == "old" {
				require.NoError(t, err)
				require.NoError(t, os.Remove(filepath.Join(manager.Store(), "can be written to")))
				require.NoError(t, manager.Mount(ctx, "new"))
				require.NoError(t, manager.Migrate(ctx))
				assert.NoFileExists(t, filepath.Join(manager.Store(), "can be written to"), "left by the first attempt")
			}
			check()
			assert.Equal(t, disk.PartitionPath(newDevice, "1"), machine.mounted(manager.Store()))
		})
	}
}
