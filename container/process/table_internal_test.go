package process

import (
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever asks gets a table that was begun after that: it has the process that was started right before.
func TestTableIsNotOlderThanTheQuestion(t *testing.T) {
	var r tableReader
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				cmd := exec.Command("sleep", "60")
				if !assert.NoError(t, cmd.Start()) {
					return
				}
				table, err := r.read()
				if assert.NoError(t, err) {
					assert.True(t, slices.ContainsFunc(table.procs, func(p proc) bool { return p.pid == cmd.Process.Pid }))
				}
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		})
	}
	all.Wait()
}

// Those who ask while a table is being read share the next one.
func TestTableIsShared(t *testing.T) {
	var r tableReader
	r.reading.Lock() // a reading that takes long
	const askers = 100
	tables := make(chan *table, askers)
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			table, err := r.read()
			assert.NoError(t, err)
			tables <- table
		})
	}
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.next != nil
	}, 10*time.Second, time.Millisecond)
	r.reading.Unlock()
	all.Wait()
	close(tables)
	different := map[*table]bool{}
	for table := range tables {
		different[table] = true
	}
	assert.Less(t, len(different), askers/2)
	table, err := r.read()
	require.NoError(t, err)
	assert.False(t, different[table])
}
