package methods_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDisks is what a director does to move data from one disk to a larger one.
func TestDisks(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		ctx := t.Context()
		require.NoError(t, n.memory.Attach("/dev/sdc", 128<<20))
		mounted, err := n.ListDisk(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"disk-0"}, mounted, "from the boot")
		n.write("store/db", "precious", 0o600)

		n.fails("Persistent disk with volume id 'disk-1' could not be found", "mount_disk", "disk-1")
		require.NoError(t, n.AddPersistentDisk(ctx, "disk-1", "/dev/sdc"))
		require.NoError(t, n.MountDisk(ctx, "disk-1"))
		assert.DirExists(t, n.path("store_migration_target"))
		assert.Equal(t, `{}`, n.value("migrate_disk", "disk-0", "disk-1"))
		assert.Equal(t, "precious", n.read("store/db"))
		mounted, err = n.ListDisk(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"disk-1"}, mounted)

		assert.Equal(t, map[string]any{"message": "Unmounted partition of {ID:disk-1 VolumeID:/dev/sdc Path:/dev/sdc}"},
			decoded(t, n.value("unmount_disk", "disk-1")))
		assert.Equal(t, `[]`, n.value("list_disk"))
		assert.Equal(t, `{}`, n.value("remove_persistent_disk", "disk-1"))
		n.fails("could not be found", "mount_disk", "disk-1")
		assert.Equal(t, `{}`, n.value("add_persistent_disk", "disk-1", map[string]any{"path": "/dev/sdc", "volume_id": "v", "iscsi_settings": map[string]any{}}))
		require.NoError(t, n.MountDisk(ctx, "disk-1"))
		assert.Equal(t, "precious", n.read("store/db"), "it was not formatted")
		n.fails("mount both", "migrate_disk")

		require.NoError(t, n.AddDynamicDisk(ctx, "dyn-1", map[string]any{"path": "/dev/sdc"}))
		target, err := os.Readlink(n.path("data/dynamic_disks/dyn-1"))
		require.NoError(t, err)
		assert.Equal(t, "/dev/sdc", target)
		require.NoError(t, n.RemoveDynamicDisk(ctx, "dyn-1"))
		require.NoError(t, n.RemoveDynamicDisk(ctx, "dyn-1"))
		assert.NoFileExists(t, n.path("data/dynamic_disks/dyn-1"))
	})
}
