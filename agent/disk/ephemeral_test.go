package disk_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/needs"
)

const agentID = "3c7c4a2e-9c8e-4a67-9d0a-2f3bb2f9d001"

// An ephemeralMachine is one with an ephemeral disk of 256 MiB, and 48 MiB of memory.
type ephemeralMachine struct {
	*machine
	disk.Ephemeral
	device   string
	settings *settings.Settings
}

func (m *machine) ephemeral(document string) *ephemeralMachine {
	m.t.Helper()
	if m.system == (disk.Linux{}) {
		for _, program := range []string{"mkswap", "swapon", "swapoff"} {
			needs.Tool(m.t, program, "mount")
		}
	}
	s, err := settings.Parse([]byte(document))
	require.NoError(m.t, err)
	e := &ephemeralMachine{machine: m, device: m.attach(256 * mib), settings: s}
	e.settings.AgentID = agentID
	e.settings.Disks.Ephemeral = settings.Disk{Path: e.device}
	e.Ephemeral = disk.Ephemeral{System: m.system.(disk.EphemeralSystem), Resolver: disk.Identity{}, Dir: filepath.Join(m.base, "data"), Memory: 48 * mib}
	m.t.Cleanup(func() { e.swapOff() })
	return e
}

func (e *ephemeralMachine) setup() {
	e.t.Helper()
	require.NoError(e.t, e.Setup(e.t.Context(), e.settings))
}

// used is what of the disk the machine swaps to.
func (e *ephemeralMachine) used() []string {
	swaps, err := e.System.Swaps(e.t.Context())
	require.NoError(e.t, err)
	return slices.DeleteFunc(swaps, func(name string) bool { return !strings.HasPrefix(name, e.part("")) })
}

func (e *ephemeralMachine) swapOff() {
	if e.system != (disk.Linux{}) {
		return
	}
	swaps, err := disk.Linux{}.Swaps(e.t.Context())
	assert.NoError(e.t, err)
	for _, name := range swaps {
		if strings.HasPrefix(name, e.part("")) {
			run(e.t, "swapoff", name)
		}
	}
}

func (e *ephemeralMachine) names() (names []string) {
	parts, err := e.System.Table(e.t.Context(), e.device)
	require.NoError(e.t, err)
	for _, p := range parts {
		names = append(names, p.Name)
	}
	return names
}

func (e *ephemeralMachine) part(number string) string { return disk.PartitionPath(e.device, number) }

// name is that of a partition, as the original gives it.
func name(number string) string { return "bosh-partition-3c7c4a2e-9c8e-4a6-" + number }

func TestEphemeral(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		e := m.ephemeral(`{}`)
		e.setup()
		assert.Equal(t, []string{name("0"), name("1")}, e.names())
		assert.Equal(t, []string{e.part("1")}, e.used())
		assert.Equal(t, e.part("2"), m.mounted(e.Dir))
		write(t, filepath.Join(e.Dir, "data"), "kept")

		parts, err := m.system.Partitions(t.Context(), e.device)
		require.NoError(t, err)
		require.Len(t, parts, 2)
		assert.InDelta(t, 48*mib, parts[0].End, 2*mib, "as much swap as memory")
		assert.InDelta(t, 256*mib, parts[1].End, 2*mib)

		e.setup() // the agent comes up again
		assert.Equal(t, []string{e.part("1")}, e.used(), "once")
		assert.Equal(t, "kept", read(t, filepath.Join(e.Dir, "data")))

		// The machine comes up again, with a director that wants no swap any more.
		require.NoError(t, m.system.Unmount(t.Context(), e.Dir))
		e.swapOff()
		none := uint64(0)
		e.settings.Env.Bosh.SwapSize = &none
		e.setup()
		assert.Equal(t, e.part("2"), m.mounted(e.Dir))
		assert.Equal(t, "kept", read(t, filepath.Join(e.Dir, "data")))
	})
}

func TestEphemeralSizes(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		for document, want := range map[string]struct {
			names []string
			end   int64 // of the first partition
		}{
			`{"env":{"bosh":{"swap_size":0}}}`:  {[]string{name("0")}, 256 * mib},
			`{"env":{"bosh":{"swap_size":16}}}`: {[]string{name("0"), name("1")}, 16 * mib},
			`{}`:                                {[]string{name("0"), name("1")}, 128 * mib},
		} {
			e := m.ephemeral(document)
			e.Memory = 1 << 40 // half of the disk is for data
			e.setup()
			assert.Equal(t, want.names, e.names(), document)
			parts, err := m.system.Partitions(t.Context(), e.device)
			require.NoError(t, err)
			assert.InDelta(t, want.end, parts[0].End, 2*mib, document)
			assert.Len(t, e.used(), len(want.names)-1, document)
			assert.Equal(t, e.part(string(rune('0'+len(want.names)))), m.mounted(e.Dir), document)
			e.swapOff()
			require.NoError(t, m.system.Unmount(t.Context(), e.Dir))
		}
		e := m.ephemeral(`{"env":{"bosh":{"swap_size":18446744073709551615}}}`)
		require.ErrorContains(t, e.Setup(t.Context(), e.settings), "swap_size of 18446744073709551615 MiB leaves no room")
		assert.Empty(t, e.names())
	})
}

// TestEphemeralHalfDone: an agent was killed in between.
func TestEphemeralHalfDone(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		e := m.ephemeral(`{}`)
		ctx := t.Context()
		require.NoError(t, e.System.CreateTable(ctx, e.device, []disk.NewPartition{{Name: name("0"), Size: 32 * mib, Swap: true}, {Name: name("1")}}))
		require.NoError(t, e.System.Format(ctx, e.part("1"), "swap"))
		e.setup()
		assert.Equal(t, []string{e.part("1")}, e.used())
		assert.Equal(t, e.part("2"), m.mounted(e.Dir))
		parts, err := m.system.Partitions(ctx, e.device)
		require.NoError(t, err)
		assert.InDelta(t, 32*mib, parts[0].End, 2*mib, "the table is the one that was there")
	})
}

// TestEphemeralOfAnother machine is begun anew, and nothing that was on it shows up.
func TestEphemeralOfAnother(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		e := m.ephemeral(`{"env":{"bosh":{"swap_size":0}}}`)
		ctx := t.Context()
		e.settings.AgentID = "another"
		e.setup()
		write(t, filepath.Join(e.Dir, "secret"), "of another")
		require.NoError(t, m.system.Unmount(ctx, e.Dir))
		e.settings.AgentID = agentID
		e.setup()
		assert.Equal(t, []string{name("0")}, e.names())
		assert.NoFileExists(t, filepath.Join(e.Dir, "secret"))

		whole := m.ephemeral(`{"env":{"bosh":{"swap_size":0}}}`) // with a file system and no table, as some clouds have it
		whole.Dir += "-2"
		require.NoError(t, m.system.Format(ctx, whole.device, "ext4"))
		whole.setup()
		assert.Equal(t, []string{name("0")}, whole.names())
		kind, err := m.system.FileSystem(ctx, whole.device)
		require.NoError(t, err)
		assert.Empty(t, kind)
	})
}

func TestEphemeralRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		e, ctx := m.ephemeral(`{"env":{"bosh":{"swap_size":0}}}`), t.Context()
		elsewhere := filepath.Join(m.base, "elsewhere")
		require.NoError(t, os.MkdirAll(elsewhere, 0o755))
		require.NoError(t, m.system.CreatePartition(ctx, e.device, ""))
		require.NoError(t, m.system.Format(ctx, e.part("1"), "ext4"))
		require.NoError(t, m.system.Mount(ctx, e.part("1"), elsewhere, "ext4", nil))
		require.ErrorContains(t, e.Setup(ctx, e.settings), e.part("1")+" is mounted at "+elsewhere)
		require.Error(t, e.System.CreateTable(ctx, e.device, []disk.NewPartition{{Name: "x"}}), "it is in use")
		kind, err := m.system.FileSystem(ctx, e.part("1"))
		require.NoError(t, err)
		assert.Equal(t, "ext4", kind, "all is as it was")

		// Mounted where it belongs it is taken as it is, whoever made it.
		require.NoError(t, m.system.Unmount(ctx, elsewhere))
		require.NoError(t, os.MkdirAll(e.Dir, 0o755))
		require.NoError(t, m.system.Mount(ctx, e.part("1"), e.Dir, "ext4", nil))
		e.setup()
		assert.Empty(t, e.names())
		assert.Equal(t, e.part("1"), m.mounted(e.Dir))

		other := m.ephemeral(`{}`)
		require.ErrorContains(t, other.Setup(ctx, other.settings), e.Dir+" has "+e.part("1")+", and not "+other.device)
		assert.Empty(t, other.names())

		// Somebody has put something else where data was.
		other.Dir = elsewhere
		require.NoError(t, other.System.CreateTable(ctx, other.device, []disk.NewPartition{{Name: name("0")}}))
		require.NoError(t, m.system.Format(ctx, other.part("1"), "swap"))
		require.ErrorIs(t, other.Setup(ctx, other.settings), disk.ErrForeign)

		other.settings.Disks.Ephemeral = settings.Disk{}
		require.ErrorIs(t, other.Setup(ctx, other.settings), disk.ErrNoEphemeral)
		other.settings.Disks.Ephemeral.VolumeID = "no path"
		require.ErrorIs(t, other.Setup(ctx, other.settings), disk.ErrNoEphemeral)
		require.ErrorIs(t, other.Setup(ctx, other.settings), disk.ErrNoPath)
		other.settings.Disks.Ephemeral.Path = "/dev/not-there"
		require.Error(t, other.Setup(ctx, other.settings))
		require.ErrorContains(t, disk.Ephemeral{}.Setup(ctx, other.settings), "a Resolver and a Dir")
	})
}

// TestEphemeralWithBinds: jobs and containers bind what is below data elsewhere, and are at it when an agent is started again.
func TestEphemeralWithBinds(t *testing.T) {
	m := loops(t)
	e := m.ephemeral(`{}`)
	e.setup()
	for _, name := range []string{"kubelet", "elsewhere"} {
		from, to := filepath.Join(e.Dir, "kubelet"), filepath.Join(e.Dir, name)
		require.NoError(t, os.MkdirAll(from, 0o755))
		require.NoError(t, os.MkdirAll(to, 0o755))
		run(t, "mount", "--bind", from, to)
	}
	e.setup()
	assert.Equal(t, e.part("2"), m.mounted(e.Dir))
	assert.Equal(t, []string{e.part("1")}, e.used())

	// Without Dir they keep the disk from being made anew.
	other := filepath.Join(m.base, "bound")
	require.NoError(t, os.MkdirAll(other, 0o755))
	run(t, "mount", "--bind", filepath.Join(e.Dir, "kubelet"), other)
	run(t, "umount", "--recursive", e.Dir)
	e.swapOff()
	e.settings.AgentID = "another"
	require.ErrorContains(t, e.Setup(t.Context(), e.settings), e.part("2")+" is mounted at "+other)
	assert.Equal(t, []string{name("0"), name("1")}, e.names())
}

// TestEphemeralThatIsPersistent: settings that name one device twice, or devices whose names have moved, cost no data.
func TestEphemeralThatIsPersistent(t *testing.T) {
	everywhere(t, func(t *testing.T, m *machine) {
		e, ctx := m.ephemeral(`{"disks":{"persistent":{"disk-0":"/dev/not-there"}}}`), t.Context()
		e.settings.Disks.Persistent["disk-1"] = settings.Disk{CID: "disk-1", Path: e.device}
		require.NoError(t, m.system.CreatePartition(ctx, e.device, ""))
		require.NoError(t, m.system.Format(ctx, e.part("1"), "ext4"))
		require.ErrorContains(t, e.Setup(ctx, e.settings), e.device+" is the persistent disk 'disk-1' too")
		kind, err := m.system.FileSystem(ctx, e.part("1"))
		require.NoError(t, err)
		assert.Equal(t, "ext4", kind, "all is as it was")

		// The director has told of it later.
		delete(e.settings.Disks.Persistent, "disk-1")
		require.NoError(t, m.manager().AddPersistent(ctx, "disk-2", settings.Disk{Path: e.device}))
		e.Hints = []string{filepath.Join(m.base, "none.json"), filepath.Join(m.base, "bosh/persistent_disk_hints.json")}
		require.ErrorContains(t, e.Setup(ctx, e.settings), e.device+" is the persistent disk 'disk-2' too")
		e.Hints = append(e.Hints, e.Dir) // which cannot be read
		require.ErrorContains(t, e.Setup(ctx, e.settings), "hints about disks")
		assert.Empty(t, e.names(), "all is as it was")

		require.NoError(t, m.manager().RemovePersistent("disk-2"))
		e.Hints = e.Hints[:2]
		e.setup()
	})
}

// TestEphemeralOfTheOriginal: what bosh-agent has made is kept. It runs parted.
func TestEphemeralOfTheOriginal(t *testing.T) {
	m := loops(t)
	needs.Tool(t, "parted", "parted")
	e := m.ephemeral(`{}`)
	run(t, "parted", "-s", e.device, "mklabel", "gpt")
	run(t, "parted", "-s", e.device, "unit", "B", "mkpart", name("0"), "1048576", "34603007")
	run(t, "parted", "-s", e.device, "unit", "B", "mkpart", name("1"), "34603008", "267386879")
	run(t, "partx", "--update", e.device)
	run(t, "mkswap", e.part("1"))
	run(t, "mke2fs", "-q", "-t", "ext4", e.part("2"))
	id := run(t, "blkid", "-p", "-s", "UUID", "-o", "value", e.part("2"))
	e.setup()
	assert.Equal(t, id, run(t, "blkid", "-p", "-s", "UUID", "-o", "value", e.part("2")))
	assert.Equal(t, e.part("2"), m.mounted(e.Dir))
	assert.Equal(t, []string{e.part("1")}, e.used())
}

// TestSwapInUse is refused a new table by sfdisk.
func TestSwapInUse(t *testing.T) {
	m := loops(t)
	e := m.ephemeral(`{}`)
	e.setup()
	require.NoError(t, m.system.Unmount(t.Context(), e.Dir))
	e.settings.AgentID = "another"
	require.Error(t, e.Setup(t.Context(), e.settings))
	assert.Equal(t, []string{name("0"), name("1")}, e.names())
}

func TestEphemeralPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	ctx, linux := t.Context(), disk.Linux{}
	_, err := linux.Table(ctx, "/dev/null")
	require.ErrorIs(t, err, exec.ErrNotFound)
	_, err = linux.Table(ctx, "/dev/not-there")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, linux.SwapOn(ctx, "/dev/null"), exec.ErrNotFound)
	err = linux.CreateTable(ctx, "/dev/null", []disk.NewPartition{{Name: "a\", size=1"}})
	require.ErrorContains(t, err, "no id")
	assert.False(t, errors.Is(err, exec.ErrNotFound), "sfdisk is not asked")
}
