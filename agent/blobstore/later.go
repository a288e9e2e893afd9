package blobstore

import (
	"context"
	"io"
)

// A later store is opened when it is first asked for something, and again until that succeeds: an agent comes up before the
// server of its store does.
type later struct {
	open   func(context.Context) (Store, error)
	turn   chan struct{} // holds a token while somebody opens the store
	opened Store         // nil before; belongs to who has the turn
}

func newLater(open func(context.Context) (Store, error)) *later {
	return &later{open: open, turn: make(chan struct{}, 1)}
}

func (l *later) store(ctx context.Context) (Store, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if l.opened == nil {
		store, err := l.open(ctx)
		if err != nil {
			return nil, err
		}
		l.opened = store
	}
	return l.opened, nil
}

func (l *later) Get(ctx context.Context, id string, w io.Writer) error {
	store, err := l.store(ctx)
	if err != nil {
		return err
	}
	return store.Get(ctx, id, w)
}

func (l *later) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	store, err := l.store(ctx)
	if err != nil {
		return err
	}
	return store.Put(ctx, id, r)
}

func (l *later) Delete(ctx context.Context, id string) error {
	store, err := l.store(ctx)
	if err != nil {
		return err
	}
	return store.Delete(ctx, id)
}

func (l *later) Exists(ctx context.Context, id string) (bool, error) {
	store, err := l.store(ctx)
	if err != nil {
		return false, err
	}
	return store.Exists(ctx, id)
}
