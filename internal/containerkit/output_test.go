package containerkit_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/containerkit"
)

// pump returns where the error of Pump will be.
func pump(o *containerkit.Output) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- o.Pump() }()
	return ended
}

func await(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it is still being read")
		return nil
	}
}

func TestOutput(t *testing.T) {
	for name, end := range map[string]func(o *containerkit.Output, theirs *os.File){
		"the other end is closed": func(_ *containerkit.Output, theirs *os.File) { theirs.Close() },
		"somebody else has it":    func(o *containerkit.Output, _ *os.File) { o.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs, err := os.Pipe()
			require.NoError(t, err)
			defer theirs.Close()
			o := containerkit.NewOutput(ours)
			var out bytes.Buffer
			o.Attach(&out)
			_, err = theirs.WriteString("last words")
			require.NoError(t, err)
			end(o, theirs)
			require.NoError(t, await(t, pump(o)))
			assert.Equal(t, "last words", out.String())
		})
	}
	ours, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer theirs.Close()
	o := containerkit.NewOutput(ours)
	ended := pump(o)
	o.Close()
	require.ErrorIs(t, await(t, ended), os.ErrClosed)
	o.Release()
}

// echoWriter writes to a pipe whenever something is read of it, so that it is never empty.
type echoWriter struct{ to *os.File }

func (w echoWriter) Write(p []byte) (int, error) { return w.to.Write(p) }

// TestEndlessOutput releases an output to which a process outside of the container writes without end.
func TestEndlessOutput(t *testing.T) {
	ours, theirs, err := os.Pipe()
	require.NoError(t, err)
	defer theirs.Close()
	o := containerkit.NewOutput(ours)
	o.Attach(echoWriter{theirs})
	_, err = theirs.WriteString("more")
	require.NoError(t, err)
	ended := pump(o)
	o.Release()
	require.NoError(t, await(t, ended))
}

func TestAttachBoth(t *testing.T) {
	saying := func(text string) *containerkit.Fanout {
		return containerkit.NewFanout(io.NopCloser(strings.NewReader(text)))
	}
	for name, outputs := range map[string][2]*containerkit.Fanout{
		"two": {saying("out"), saying("err")}, "no output": {nil, saying("err")}, "none": {nil, nil},
	} {
		var out, errOut, both bytes.Buffer
		containerkit.AttachBoth(outputs[0], outputs[1], &out, &errOut)
		containerkit.AttachBoth(outputs[0], outputs[1], &both, &both)
		var said [2]string
		for i, f := range outputs {
			if f != nil {
				require.NoError(t, f.Pump())
				said[i] = []string{"out", "err"}[i]
			}
		}
		assert.Equal(t, said, [2]string{out.String(), errOut.String()}, name)
		assert.Equal(t, said[0]+said[1], both.String(), name)
	}
	var out, errOut bytes.Buffer
	one := saying("all")
	containerkit.AttachBoth(one, one, &out, &errOut)
	require.NoError(t, one.Pump())
	assert.Equal(t, "all", out.String())
	assert.Empty(t, errOut.String())
}
