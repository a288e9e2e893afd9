package blobstore

import (
	"cmp"
	"context"
	"fmt"
	"io"
)

// Dummy keeps nothing: every Put succeeds, and no blob is ever found. It is for agents that get all their blobs sent.
type Dummy struct{}

// Get is always an [ErrNotFound].
func (Dummy) Get(_ context.Context, id string, _ io.Writer) error {
	return cmp.Or(CheckID(id), fmt.Errorf("blob %s: %w", id, ErrNotFound))
}

// Put forgets the content.
func (Dummy) Put(_ context.Context, id string, _ io.ReadSeeker) error { return CheckID(id) }

// Delete has nothing to remove.
func (Dummy) Delete(_ context.Context, id string) error { return CheckID(id) }

// Exists is always false.
func (Dummy) Exists(_ context.Context, id string) (bool, error) { return false, CheckID(id) }
