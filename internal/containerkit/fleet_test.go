package containerkit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

type box struct{ name string }

func TestFleet(t *testing.T) {
	ctx := t.Context()
	none := func() (*box, error) { t.Error("it is known"); return nil, nil }
	var f containerkit.Fleet[box]
	assert.Nil(t, f.Find("a"))
	assert.Empty(t, f.All())

	a := &box{"a"}
	done, err := f.Reserve(ctx, "a", a)
	require.NoError(t, err)
	_, err = f.Reserve(ctx, "a", &box{})
	require.ErrorIs(t, err, container.ErrExists)
	assert.Nil(t, f.Find("a"), "it is being made")
	assert.Empty(t, f.All())
	_, err = f.FindOrAdd("a", none)
	require.ErrorIs(t, err, container.ErrNotFound)
	f.Forget("a", &box{"one of before"})
	_, err = f.Reserve(ctx, "a", &box{})
	require.ErrorIs(t, err, container.ErrExists, "it is still being made")
	require.NoError(t, f.Publish(ctx, "a", a))
	done()
	assert.Same(t, a, f.Find("a"))
	assert.Equal(t, []*box{a}, f.All())
	found, err := f.FindOrAdd("a", none)
	require.NoError(t, err)
	assert.Same(t, a, found)

	f.Forget("a", &box{"another"})
	assert.Same(t, a, f.Find("a"))
	f.Forget("a", a)
	assert.Nil(t, f.Find("a"))

	done, err = f.Reserve(ctx, "a", a)
	require.NoError(t, err, "it was given back")
	f.Forget("a", a)
	done()
	require.NoError(t, f.Wait(ctx))

	failed := errors.New("failed")
	_, err = f.FindOrAdd("b", func() (*box, error) { return nil, failed })
	require.ErrorIs(t, err, failed)
	b := &box{"b"}
	found, err = f.FindOrAdd("b", func() (*box, error) { return b, nil })
	require.NoError(t, err)
	assert.Same(t, b, found)
	assert.Same(t, b, f.Find("b"))
}

func TestFleetRefuses(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	var f containerkit.Fleet[box]
	_, err := f.Reserve(ended, "a", &box{})
	require.ErrorIs(t, err, context.Canceled)
	a := &box{"a"}
	done, err := f.Reserve(t.Context(), "a", a)
	require.NoError(t, err)
	require.ErrorIs(t, f.Publish(ended, "a", &box{}), context.Canceled)
	goOn := make(chan struct{})
	require.NoError(t, f.Go(func() { <-goOn }))

	closed := errors.New("closed")
	f.Refuse(closed)
	_, err = f.Reserve(t.Context(), "b", &box{})
	require.ErrorIs(t, err, closed)
	require.ErrorIs(t, f.Publish(t.Context(), "a", &box{}), closed)
	require.ErrorIs(t, f.Go(func() { t.Error("it must not begin") }), closed)
	assert.Nil(t, f.Find("a"))
	c := &box{"c"}
	f.Add("c", c)
	assert.Same(t, c, f.Find("c"))

	require.ErrorIs(t, f.Wait(ended), context.Canceled)
	close(goOn)
	require.ErrorIs(t, f.Wait(ended), context.Canceled, "a is still being made")
	f.Forget("a", a)
	done()
	require.NoError(t, f.Wait(t.Context()))
}
