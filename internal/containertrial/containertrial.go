// Package containertrial finds out whether a back end works, by the shortest life that a container can have.
package containertrial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/container"
)

// A Backend is one that can be closed again, with its containers.
type Backend interface {
	container.Backend
	Close(context.Context) error
}

// Run opens a back end on a depot of its own in dir, or in what is there of dir, runs a program in a container, and removes all of it
// again, also when ctx has ended.
func Run[B Backend](ctx context.Context, dir string, open func(depot string) (B, error)) (err error) {
	depot, err := os.MkdirTemp(nearest(dir), "deakit-doctor-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(depot)) }()
	b, err := open(depot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close(context.WithoutCancel(ctx))) }()
	c, err := b.Create(ctx, container.Spec{})
	if err != nil {
		return err
	}
	p, err := c.Run(ctx, container.ProcessSpec{Path: "true"}, container.IO{})
	if err != nil {
		return err
	}
	status, err := p.Wait(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("true ended with status %d", status)
	}
	return err
}

// nearest is dir, or what is there of it.
func nearest(dir string) string {
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
