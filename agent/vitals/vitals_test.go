package vitals_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proc is a /proc as it stands on a machine.
func proc() fstest.MapFS {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"stat":    "cpu  300 100 50 500 40 5 5 0 70 0\ncpu0 150 50 25 250 20 2 3 0 35 0\nintr 1\n",
		"loadavg": "0.9 0.784 0.461 1/123 4567\n",
		"meminfo": "MemTotal:       1000000 kB\nMemFree:         500000 kB\nMemAvailable:    900000 kB\nBuffers:         100000 kB\n" +
			"Cached:          250000 kB\nSwapTotal:       200000 kB\nSwapFree:         90000 kB\nHugePages_Total:       0\nOdd\n",
		"uptime":      "1313.97 2500.10\n",
		"self/mounts": "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
	}
	return files
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	data, store := filepath.Join(dir, "with blank"), filepath.Join(dir, "store")
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Mkdir(store, 0o700))
	files := proc()
	files["self/mounts"].Data = append(files["self/mounts"].Data,
		[]byte("/dev/sdb2 "+strings.ReplaceAll(data, " ", `\040`)+" ext4 rw 0 0\n")...)
	v, err := vitals.New(vitals.Config{Proc: files, Ephemeral: data, Persistent: store}).Read()
	require.NoError(t, err)
	disks := v.Disk
	v.Disk = messaging.AgentDisks{}
	assert.Equal(t, messaging.AgentVitals{
		CPU:    &messaging.AgentCPU{User: "40.0", System: "5.0", Wait: "4.0"}, // since the machine came up
		Load:   []messaging.Text{"0.90", "0.78", "0.46"},
		Mem:    &messaging.AgentMemory{KB: "150000", Percent: "15"},
		Swap:   &messaging.AgentMemory{KB: "110000", Percent: "55"},
		Uptime: &messaging.AgentUptime{Seconds: 1313},
	}, v)
	assert.Nil(t, disks.Persistent, "nothing is mounted there")
	for _, disk := range []*messaging.AgentDisk{disks.System, disks.Ephemeral} {
		require.NotNil(t, disk)
		for _, text := range []messaging.Text{disk.Percent, disk.InodePercent} {
			n, err := strconv.Atoi(string(text))
			require.NoError(t, err)
			assert.True(t, n >= 0 && n <= 100, text)
		}
	}

	v, err = vitals.New(vitals.Config{Proc: files, Persistent: store, Ephemeral: filepath.Join(dir, "none"), Unmounted: true}).Read()
	require.NoError(t, err)
	assert.NotNil(t, v.Disk.Persistent)
	assert.Nil(t, v.Disk.Ephemeral)
}

// Processors are told over an interval.
func TestRunWatchesProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, proc()))
		source := vitals.New(vitals.Config{Proc: os.DirFS(dir)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- source.Run(ctx) }()
		cpu := func() *messaging.AgentCPU {
			v, err := source.Read()
			require.NoError(t, err)
			return v.CPU
		}
		pass := func(stat string) {
			synctest.Wait()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o600))
			time.Sleep(10 * time.Second) // of the bubble's clock
			synctest.Wait()
		}
		assert.EqualValues(t, "40.0", cpu().User)
		pass("cpu  310 115 60 540 65 5 5 0 70 0\n") // 10+15 user, 10 system, 40 idle, 25 waiting
		assert.Equal(t, &messaging.AgentCPU{User: "25.0", System: "10.0", Wait: "25.0"}, cpu())
		pass("cpu  310 115 60 640 60 5 5 0 70 0\n") // waiting goes backwards
		assert.Equal(t, &messaging.AgentCPU{User: "0.0", System: "0.0", Wait: "0.0"}, cpu())
		pass("nonsense")
		assert.Equal(t, &messaging.AgentCPU{User: "0.0", System: "0.0", Wait: "0.0"}, cpu(), "the last one that is known")
		cancel()
		require.NoError(t, <-ended)
	})
}

// What cannot be measured does not keep the rest back.
func TestReadWithoutSomeFiles(t *testing.T) {
	for _, name := range []string{"stat", "loadavg", "meminfo", "uptime", "self/mounts"} {
		for _, text := range []string{"", "x", "cpu a b c d e f", "a b c", "MemTotal: x kB"} {
			files := proc()
			files[name] = &fstest.MapFile{Data: []byte(text)}
			v, err := vitals.New(vitals.Config{Proc: files}).Read()
			if name != "self/mounts" {
				require.ErrorContains(t, err, name)
				require.ErrorIs(t, err, fs.ErrInvalid)
			}
			left := 0
			for _, there := range []bool{v.CPU != nil, v.Load != nil, v.Mem != nil, v.Uptime != nil, v.Disk.System != nil} {
				if there {
					left++
				}
			}
			assert.Equal(t, 4, left, "%s: %q", name, text)
		}
		files := proc()
		delete(files, name)
		_, err := vitals.New(vitals.Config{Proc: files}).Read()
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, name)
	}
}

// The machine that the test runs on has figures, all as text that peers read.
func TestThisMachine(t *testing.T) {
	v, err := vitals.New(vitals.Config{}).Read()
	require.NoError(t, err)
	require.NotNil(t, v.Disk.System)
	for _, text := range append([]messaging.Text{v.CPU.User, v.CPU.System, v.CPU.Wait, v.Mem.KB, v.Mem.Percent, v.Swap.KB, v.Swap.Percent}, v.Load...) {
		f, err := strconv.ParseFloat(string(text), 64)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, f, 0.0)
	}
	assert.Positive(t, v.Uptime.Seconds)
}

func TestNTP(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ntpdate.out")
	assert.Equal(t, messaging.AgentNTP{Message: "file missing"}, vitals.NTP(name))
	const good = "14 Oct 11:13:19 ntpdate[1031]: adjust time server 10.0.0.1 offset -0.06423 sec\n"
	const bad = "14 Oct 11:13:20 ntpdate[1032]: no server suitable for synchronization found\n"
	for text, want := range map[string]messaging.AgentNTP{
		good:       {Timestamp: "14 Oct 11:13:19", Offset: "-0.06423"},
		bad + good: {Timestamp: "14 Oct 11:13:19", Offset: "-0.06423"},
		good + bad: {Message: "bad ntp server"},
		strings.Repeat(bad, 1000) + strings.Replace(good, "-0.06423", "3", 1) + "\n": {Timestamp: "14 Oct 11:13:19", Offset: "3"},
		"":                       {Message: "bad file contents"},
		"hello":                  {Message: "bad file contents"},
		strings.Repeat("x", 1e5): {Message: "bad file contents"},
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		assert.Equal(t, want, vitals.NTP(name))
	}
	assert.Equal(t, messaging.AgentNTP{Message: "bad file contents"}, vitals.NTP(t.TempDir()))
}
