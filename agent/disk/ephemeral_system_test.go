package disk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
)

// onSystemDisk makes a disk with a system on it, which is in use, the one of a machine without another disk.
func (e *ephemeralMachine) onSystemDisk(partition string) {
	e.t.Helper()
	e.settings.Disks.Ephemeral = settings.Disk{}
	e.OnSystemDisk, e.Root = true, filepath.Join(e.base, "root")
	require.NoError(e.t, os.MkdirAll(e.Root, 0o755))
	require.NoError(e.t, e.system.Format(e.t.Context(), partition, "ext4"))
	require.NoError(e.t, e.system.Mount(e.t.Context(), partition, e.Root, "ext4", nil))
	write(e.t, filepath.Join(e.Root, "file"), "of the system")
	e.t.Cleanup(e.swapOff)
}

// TestEphemeralOnSystemDisk with either kind of table; one is of an image with a partition of the boot loader, of which the disk
// was made larger than it was.
func TestEphemeralOnSystemDisk(t *testing.T) {
	for name, test := range map[string]struct {
		table, system, first, second string
		grow                         int64
	}{
		"dos":   {"label: dos\n,512MiB,L\n", "1", "2", "3", 3 << 30},
		"gpt":   {"label: gpt\n14: size=4MiB, name=boot\n1: size=600MiB, name=system\n", "1", "2", "3", 3 << 30},
		"grown": {"label: gpt\n14: size=4MiB\n1: size=600MiB\n", "1", "2", "3", 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			m := loops(t)
			e := m.ephemeral(`{}`)
			e.device = m.attach(test.grow)
			sfdisk(t, e.device, test.table)
			m.grow(e.device, 3<<30)
			run(t, "partx", "--update", e.device)
			e.onSystemDisk(e.part(test.system))
			before, err := m.system.Partitions(t.Context(), e.device)
			require.NoError(t, err)

			for range 2 { // when the machine comes up, and once more
				e.setup()
				assert.Equal(t, e.part(test.second), m.mounted(e.Dir))
				assert.Equal(t, []string{e.part(test.first)}, e.used())
				write(t, filepath.Join(e.Dir, "data"), "kept")
				assert.Equal(t, "of the system", read(t, filepath.Join(e.Root, "file")))
				require.NoError(t, m.system.Unmount(t.Context(), e.Dir))
				e.swapOff()
			}
			e.Memory = 1 << 40 // of another size now
			e.setup()
			assert.Equal(t, "kept", read(t, filepath.Join(e.Dir, "data")))
			parts, err := m.system.Partitions(t.Context(), e.device)
			require.NoError(t, err)
			require.Len(t, parts, len(before)+2)
			for _, p := range before {
				assert.Contains(t, parts, p, "as it was")
			}
			assert.Greater(t, room(t, e.Dir), int64(2<<30))
			run(t, "sfdisk", "--verify", e.device)
		})
	}
}

func sfdisk(t *testing.T, device, script string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	write(t, file, script)
	run(t, "sh", "-c", `sfdisk --quiet "$1" <"$2" && partx --update "$1"`, "sh", device, file)
}

func TestEphemeralOnSystemDiskInMemory(t *testing.T) {
	m := memory(t)
	e := m.ephemeral(`{"env":{"bosh":{"swap_size":64}}}`)
	require.NoError(t, e.System.CreateTable(t.Context(), e.device, []disk.NewPartition{{Name: "system", Size: 128 * mib}}))
	e.onSystemDisk(e.part("1"))
	require.ErrorContains(t, e.Setup(t.Context(), e.settings), "Insufficient remaining disk space (134217728B) for ephemeral partition (min: 1073741824B)")
	m.grow(e.device, 2<<30)
	e.setup()
	e.setup()
	assert.Equal(t, e.part("3"), m.mounted(e.Dir))
	assert.Equal(t, []string{e.part("2")}, e.used())
	assert.Equal(t, []string{"system", name("0"), name("1")}, e.names())
}

// TestEphemeralOnForeignDisk: what somebody else has put behind the system is not touched.
func TestEphemeralOnForeignDisk(t *testing.T) {
	for table, says := range map[string]string{
		"label: gpt\nsize=512MiB\nsize=512MiB, name=precious\n": `has the name "precious"`,
		"label: gpt\nsize=512MiB\nsize=512MiB\n":                `has the name ""`,
		"label: dos\n,512MiB\n,8MiB\n,8MiB\n,8MiB\n":            "has 3 partitions, of which two",
		"label: dos\n,512MiB\n,64MiB,S\n":                       "is swap",
		"label: dos\n,2560MiB\n":                                "Insufficient remaining disk space",
	} {
		t.Run(says, func(t *testing.T) {
			m := loops(t)
			e := m.ephemeral(`{}`)
			e.device = m.attach(3 << 30)
			sfdisk(t, e.device, table)
			if strings.Contains(table, ",S") {
				run(t, "mkswap", e.part("2"))
			}
			e.onSystemDisk(e.part("1"))
			before := run(t, "sfdisk", "--dump", e.device)
			require.ErrorContains(t, e.Setup(t.Context(), e.settings), says)
			assert.Equal(t, before, run(t, "sfdisk", "--dump", e.device))
			assert.Empty(t, m.mounted(e.Dir))
		})
	}
	m := memory(t)
	e := m.ephemeral(`{}`)
	e.OnSystemDisk, e.Root, e.settings.Disks.Ephemeral = true, "/not-there", settings.Disk{}
	require.ErrorContains(t, e.Setup(t.Context(), e.settings), "nothing is mounted at /not-there")
	_, err := disk.Linux{}.Whole(t.Context(), "/dev/null")
	require.ErrorContains(t, err, "no partition of a device")
	_, err = m.system.(*disk.Memory).Whole(t.Context(), e.device)
	require.Error(t, err)
}
