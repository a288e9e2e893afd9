package buildpack

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
)

// TestFlightThatWasGivenUpTooLate: a flight whose last waiter has left when the content was whole already puts it in place
// while the next one is still downloading.
func TestFlightThatWasGivenUpTooLate(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenStore(dir, StoreOptions{})
	require.NoError(t, err)
	defer store.Close()
	zip := File(stagetest.Save(t, stagetest.Files{"bin/detect": "#!/bin/sh"}.Zip(t)))
	err = store.ensure(t.Context(), "k", func(ctx context.Context, w io.Writer) error {
		if err := store.ensure(ctx, "k", zip); err != nil {
			return err
		}
		return zip(ctx, w)
	})
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(dir, "k/bin/detect"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "the lock and the buildpack")
}
