package staging_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// stagerEnv makes the test binary a program that stages the app that it names, and prints how much memory that took.
const stagerEnv = "STAGING_TEST_APP"

const (
	largeApp   = 300 << 20
	memoryGoal = 100 << 20
)

// TestMemoryOfALargeApp stages an app of 300 MB in a process of its own, and looks at the most memory that it ever had.
func TestMemoryOfALargeApp(t *testing.T) {
	dir := t.TempDir()
	writeLarge(t, filepath.Join(dir, "app"))
	stagetest.Scripts("echo Large", `cp "$1/file0" "$2/cached"`, "").Write(t, filepath.Join(dir, "bp"))
	cmd := exec.CommandContext(t.Context(), plainBinary(t))
	cmd.Env = append(os.Environ(), stagerEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var peak, size int64
	_, err = fmt.Sscan(string(out), &peak, &size)
	require.NoError(t, err, "%s", out)
	t.Logf("a droplet of %d MB, %d MB of memory at most", size>>20, peak>>20)
	assert.Greater(t, size, int64(largeApp/2))
	assert.Less(t, peak, int64(memoryGoal))
}

// plainBinary is this test binary, without the race detector, which takes memory of its own.
func plainBinary(t *testing.T) string {
	self, err := os.Executable()
	require.NoError(t, err)
	if !raceEnabled {
		return self
	}
	self = filepath.Join(t.TempDir(), "plain")
	out, err := exec.CommandContext(t.Context(), needs.Tool(t, "go", "golang-go"), "test", "-c", "-race=false", "-o", self, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return self
}

// writeLarge writes files of a kind that compresses a little.
func writeLarge(t *testing.T, dir string) {
	require.NoError(t, os.MkdirAll(dir, 0o755))
	random := rand.New(rand.NewPCG(1, 2))
	block := make([]byte, 1<<20)
	for n := range 30 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("file", n)))
		require.NoError(t, err)
		for range largeApp / 30 / len(block) {
			for i := range block {
				block[i] = byte(random.UintN(220))
			}
			_, err := f.Write(block)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
	}
}

// stageAlone stages dir/app with dir/bp, and prints the peak of our own memory and the size of the droplet.
func stageAlone(ctx context.Context, dir string) error {
	backend, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	if err != nil {
		return err
	}
	defer backend.Close(ctx)
	bp, err := buildpack.NewClassic("", filepath.Join(dir, "bp"))
	if err != nil {
		return err
	}
	var size counter
	task := staging.Task{App: filepath.Join(dir, "app"), Buildpacks: []buildpack.Buildpack{bp}, Droplet: &size, NewCache: io.Discard}
	c, err := backend.Create(ctx, container.Spec{BindMounts: task.Mounts()})
	if err != nil {
		return err
	}
	defer c.Destroy(ctx)
	if _, err := staging.Stage(ctx, task, staging.Parts{Container: c}); err != nil {
		return err
	}
	peak, err := peakMemory()
	fmt.Println(peak, int64(size))
	return err
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// peakMemory is VmHWM of this process, in bytes.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, io.ErrUnexpectedEOF
}
