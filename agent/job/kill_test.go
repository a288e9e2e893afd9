package job_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
)

// childBase names the base directory to the test binary as a child, which applies the specs specs/0, specs/1, ... of it in
// turns for ever.
const childBase = "DEAKIT_TEST_APPLY"

// directory has blobs as files.
type directory string

func (d directory) Get(_ context.Context, s spec.Source) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(string(d), s.BlobID))
	if err != nil {
		return nil, err
	}
	return f, s.Digest.VerifyFile(f.Name())
}

func (directory) Forget(context.Context, string) error { return nil }

func applier(base string) (*job.Installer, error) {
	return job.New(job.Config{Base: base, Blobs: directory(filepath.Join(filepath.Dir(base), "blobs")), Specs: spec.NewStore(base)})
}

func applyUntilKilled(base string) {
	installer, err := applier(base)
	for n := 0; err == nil; n++ {
		var s spec.Spec
		if s, err = readSpec(base, n%2); err == nil {
			_, err = installer.Apply(context.Background(), s)
		}
		if n == 0 {
			fmt.Println("first") // the parent counts from here
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func readSpec(base string, n int) (s spec.Spec, err error) {
	data, err := os.ReadFile(fmt.Sprintf("%s/spec%d.json", filepath.Dir(base), n))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// TestKilledApply kills a process that applies two specs in turns at random moments. What has its name then is whole, and
// applying once more leads to the same state as in a directory where nobody was killed.
func TestKilledApply(t *testing.T) {
	top := t.TempDir()
	var blobs blobtest.Blobs
	require.NoError(t, os.Mkdir(filepath.Join(top, "blobs"), 0o755))
	specs := []spec.Spec{
		wants(t, &blobs, []string{"a/1", "b/1"}, []string{"p/1", "q/1", "r/1"}), wants(t, &blobs, []string{"b/2", "c/1"}, []string{"q/2", "r/1", "s/1"}),
	}
	var want [2][]string
	for n, s := range specs {
		for _, p := range s.Packages {
			require.NoError(t, os.WriteFile(filepath.Join(top, "blobs", p.BlobID), blobs.Blob(p.BlobID), 0o644))
		}
		id := s.RenderedTemplates.BlobID
		require.NoError(t, os.WriteFile(filepath.Join(top, "blobs", id), blobs.Blob(id), 0o644))
		data, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/spec%d.json", top, n), data, 0o644))
		want[n] = applied(t, filepath.Join(top, fmt.Sprintf("clean%d", n)), s)
	}
	whole := map[string][]string{}
	for n := range specs {
		base := filepath.Join(top, fmt.Sprintf("clean%d", n))
		for _, dir := range bundles(t, base) {
			whole[dir] = files(t, filepath.Join(base, dir))
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	base := filepath.Join(top, "base")
	require.NoError(t, os.Mkdir(base, 0o755))
	for round := range 12 {
		killApply(t, base, time.Duration(random.Int64N(int64(60*time.Millisecond))))
		for _, dir := range bundles(t, base) {
			assert.Equal(t, whole[dir], files(t, filepath.Join(base, dir)), "round %d: %s is not whole", round, dir)
		}
		_, err := spec.NewStore(base).Load()
		require.NoError(t, err)
		if round%3 == 2 { // now and then, so that several kills add up
			n := random.IntN(2)
			got := applied(t, base, specs[n])
			more, less := difference(got, want[n]), difference(want[n], got)
			require.Empty(t, more, "round %d", round)
			require.Empty(t, less, "round %d", round)
		}
	}
}

// killApply lets a child apply for some time, at least until it has begun the second round.
func killApply(t *testing.T, base string, after time.Duration) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childBase+"="+base)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	if after%2 == 0 { // else in the first round too
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err)
	}
	<-time.After(after)
	require.NoError(t, child.Process.Kill())
	require.EqualError(t, child.Wait(), "signal: killed")
}

// applied applies a spec and returns what is there then, but for logs and the like.
func applied(t *testing.T, base string, s spec.Spec) (all []string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(base, 0o755))
	require.NoError(t, spec.NewStore(base).Clean())
	installer, err := applier(base)
	require.NoError(t, err)
	_, err = installer.Apply(t.Context(), s)
	require.NoError(t, err)
	for _, dir := range []string{"jobs", "packages", "data/jobs", "data/packages", "bosh", "instance"} {
		all = append(all, tree(t, filepath.Join(base, dir))...)
	}
	return all
}

// bundles are the installed directories.
func bundles(t *testing.T, base string) (all []string) {
	t.Helper()
	for _, kind := range []string{"jobs", "packages"} {
		found, err := filepath.Glob(filepath.Join(base, "data", kind, "[a-z]*", "*"))
		require.NoError(t, err)
		for _, dir := range found {
			relative, err := filepath.Rel(base, dir)
			require.NoError(t, err)
			all = append(all, relative)
		}
	}
	return all
}

// files are the files of a bundle, without the links to packages, which are made later.
func files(t *testing.T, dir string) (all []string) {
	for _, line := range tree(t, dir) {
		if !strings.Contains(line, " /packages") {
			all = append(all, line)
		}
	}
	return all
}

// difference is what is in a and not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) })
}
