package containerkit_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

func TestChecks(t *testing.T) {
	ok := container.Spec{
		Handle: "a-B_9", Env: []string{"A=", "odd.name=x=y"}, BindMounts: []container.BindMount{{Src: "/a"}, {Src: "/a", Dst: "/b"}},
		Limits: container.Limits{MemoryBytes: 1, Bandwidth: &container.Bandwidth{}},
	}
	require.NoError(t, containerkit.CheckSpec(ok))
	for name, change := range map[string]func(*container.Spec){
		"no handle":       func(s *container.Spec) { s.Handle = "" },
		"a path":          func(s *container.Spec) { s.Handle = "../x" },
		"long handle":     func(s *container.Spec) { s.Handle = strings.Repeat("x", 65) },
		"no value":        func(s *container.Spec) { s.Env = []string{"hunter2"} },
		"no name":         func(s *container.Spec) { s.Env = []string{"=hunter2"} },
		"relative source": func(s *container.Spec) { s.BindMounts = []container.BindMount{{Src: "a", Dst: "/b"}} },
		"relative target": func(s *container.Spec) { s.BindMounts = []container.BindMount{{Src: "/a", Dst: "b"}} },
		"negative":        func(s *container.Spec) { s.Limits.PIDs = -1 },
		"no number":       func(s *container.Spec) { s.Limits.CPUQuota = math.NaN() },
		"no end":          func(s *container.Spec) { s.Limits.CPUQuota = math.Inf(1) },
		"slow":            func(s *container.Spec) { s.Limits.Bandwidth = &container.Bandwidth{BurstBytes: -1} },
	} {
		spec := ok
		change(&spec)
		err := containerkit.CheckSpec(spec)
		require.ErrorIs(t, err, container.ErrInvalid, name)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	require.NoError(t, containerkit.CheckProcess(container.ProcessSpec{Path: "x"}))
	for _, spec := range []container.ProcessSpec{{}, {Path: "x", Args: []string{"\x00"}}, {Path: "x", Env: []string{"x"}}} {
		require.ErrorIs(t, containerkit.CheckProcess(spec), container.ErrInvalid)
	}
	limits := containerkit.CloneLimits(ok.Limits)
	limits.Bandwidth.BurstBytes = 7
	assert.Zero(t, ok.Limits.Bandwidth.BurstBytes)
}

func TestCleanMounts(t *testing.T) {
	given := []container.BindMount{{Src: "/a/../b/"}, {Src: "/a", Dst: "/c//d/", Writable: true}}
	assert.Equal(t, []container.BindMount{{Src: "/b", Dst: "/b"}, {Src: "/a", Dst: "/c/d", Writable: true}}, containerkit.CleanMounts(given))
	assert.Equal(t, "/a/../b/", given[0].Src, "it changes a copy")
}

func TestMergeEnv(t *testing.T) {
	assert.Empty(t, containerkit.MergeEnv())
	assert.Equal(t, []string{"A=4=5", "B=2", "C="}, containerkit.MergeEnv([]string{"A=1", "B=2"}, nil, []string{"A=3", "C=", "A=4=5"}))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestFanout(t *testing.T) {
	r, w := io.Pipe()
	f := containerkit.NewFanout(r)
	var first, second bytes.Buffer
	f.Attach(&first)
	f.Attach(failing{})
	f.Attach(nil)
	ended := make(chan error)
	go func() { ended <- f.Pump() }()
	_, err := w.Write([]byte("one "))
	require.NoError(t, err)
	_, err = w.Write([]byte("two ")) // read only when the first was delivered
	require.NoError(t, err)
	f.Attach(&second)
	_, err = w.Write([]byte("three"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, <-ended)
	assert.Equal(t, "one two three", first.String())
	assert.True(t, strings.HasSuffix("two three", second.String()) && strings.HasSuffix(second.String(), "three"), second.String())

	r, w = io.Pipe()
	f = containerkit.NewFanout(r)
	go func() { ended <- f.Pump() }()
	f.Close()
	require.ErrorIs(t, <-ended, io.ErrClosedPipe)
	_, err = w.Write([]byte("x"))
	require.Error(t, err)
	var none *containerkit.Fanout
	none.Attach(&first)
	none.Close()
}

func TestSameWriter(t *testing.T) {
	var a, b bytes.Buffer
	assert.True(t, containerkit.SameWriter(&a, &a))
	assert.False(t, containerkit.SameWriter(&a, &b))
	assert.False(t, containerkit.SameWriter(nil, nil))
	assert.False(t, containerkit.SameWriter(uncomparable{}, uncomparable{}))
}

type uncomparable struct{ _ []int }

func (uncomparable) Write(p []byte) (int, error) { return len(p), nil }
