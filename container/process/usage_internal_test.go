package process

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
)

func TestTableThatIsYoungEnough(t *testing.T) {
	var r tableReader
	first, err := r.read()
	require.NoError(t, err)
	first.read = time.Now().Add(time.Hour) // it does not age while the test does
	again, err := r.readSince(first.at - 1)
	require.NoError(t, err)
	assert.Same(t, first, again)
	newer, err := r.readSince(first.at)
	require.NoError(t, err)
	assert.NotSame(t, first, newer)
	newer.read = time.Now().Add(-tableAge)
	newest, err := r.readSince(0)
	require.NoError(t, err)
	assert.NotSame(t, newer, newest)
}

// Measuring many containers does not read the process table for each; but what Run started since is measured, and no
// container is measured twice by one table.
func TestUsageSharesTables(t *testing.T) {
	b, err := New(Options{Depot: t.TempDir(), WatchInterval: time.Hour})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.Background())) }()
	newContainer := func() container.Container {
		c, err := b.Create(t.Context(), container.Spec{})
		require.NoError(t, err)
		return c
	}
	run := func(c container.Container) {
		_, err := c.Run(t.Context(), container.ProcessSpec{Path: "/bin/sleep", Args: []string{"60"}}, container.IO{})
		require.NoError(t, err)
	}
	usage := func(c container.Container) container.Usage {
		u, err := c.Usage(t.Context())
		require.NoError(t, err)
		return u
	}
	old := func() *table { // the last one, which does not age from now on
		b.tables.mu.Lock()
		defer b.tables.mu.Unlock()
		b.tables.last.read = time.Now().Add(time.Hour)
		return b.tables.last
	}
	one, two := newContainer(), newContainer()
	run(one)
	run(two)
	begun := ticksNow()
	require.Eventually(t, func() bool { return ticksNow() > begun }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, usage(one).Processes)
	shared := old()
	assert.Equal(t, shared.read, usage(two).At)
	assert.NotEqual(t, shared.read, usage(two).At, "the second time")
	old()
	run(one)
	assert.Equal(t, 2, usage(one).Processes)
}
