package compile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/spec"
)

// childBase names the base directory to the test binary as a child, which compiles the package of the file request in it
// for ever.
const childBase = "DEAKIT_TEST_COMPILE"

// directory has blobs as files beside the base directory, and takes whatever it is given.
type directory string

func (d directory) Get(_ context.Context, s spec.Source) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(d), s.BlobID))
}

func (directory) Put(_ context.Context, r io.ReadSeeker) (string, digest.Digest, error) {
	d, err := digest.Of(r, digest.SHA1)
	return "x", d, err
}

func (directory) PutSigned(context.Context, string, map[string]string, io.ReadSeeker) (digest.Digest, error) {
	return digest.Digest{}, nil
}

type request struct {
	SHA1 string
	Deps compile.Dependencies
}

func compileOnce(ctx context.Context, base string) error {
	c, err := compile.New(compile.Config{Base: base, Blobs: directory(filepath.Dir(base)), MaxUsed: -1})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(base), "request"))
	if err != nil {
		return err
	}
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	_, err = c.Compile(ctx, "source", r.SHA1, "p", "2", r.Deps)
	return err
}

func compileUntilKilled(base string) {
	fmt.Println("begins")
	for {
		if err := compileOnce(context.Background(), base); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// TestKilledCompilation kills a process that compiles at random moments, where a job is installed. When the next
// compilation has ended, all is as it was before the first.
func TestKilledCompilation(t *testing.T) {
	m := newMachine(t)
	base := filepath.Join(m.base, "base")
	require.NoError(t, os.Mkdir(base, 0o755))
	state := installed(t, base, m.blobs)
	before := state()
	r := request{SHA1: m.source("echo x >$BOSH_INSTALL_TARGET/out"), Deps: compile.Dependencies{"q": m.dependency("q"), "r": m.dependency("r")}}
	for _, id := range []string{"source", "dep-q", "dep-r"} {
		require.NoError(t, os.WriteFile(filepath.Join(m.base, id), m.blobs.Blob(id), 0o644))
	}
	data, err := json.Marshal(r)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(m.base, "request"), data, 0o644))

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childBase+"="+base)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		_, err = out.Read(make([]byte, 1))
		require.NoError(t, err)
		<-time.After(time.Duration(random.Int64N(int64(80 * time.Millisecond))))
		require.NoError(t, child.Process.Kill())
		require.EqualError(t, child.Wait(), "signal: killed")

		require.NoError(t, compileOnce(t.Context(), base))
		require.Equal(t, before, state(), "round %d", round)
		assert.NoDirExists(t, filepath.Join(base, "data/compile"))
	}
}
