package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// taskGet asks for a task once, or until it has ended.
type taskGet struct {
	ID   string `arg:"" help:"Id of the task."`
	Wait bool   `help:"Until it has ended."`
}

func (t *taskGet) talk(ctx context.Context, c *cli, to *connection) error {
	task := to.agent.Resume("get_task", t.ID)
	if t.Wait {
		value, err := task.Wait(ctx)
		if err != nil {
			return reached(ctx, err)
		}
		return c.show("get_task", value)
	}
	value, done, err := task.Get(ctx)
	switch {
	case err != nil:
		return reached(ctx, err)
	case !done:
		_, err := fmt.Fprintln(c.out, "running")
		return err
	}
	return c.show("get_task", value)
}

var errNoBlobs = errors.New("an agent has blobs over HTTPS only")

// blobPut stores a file of any length.
type blobPut struct {
	ID   string `arg:"" help:"Id of the blob."`
	File string `arg:"" type:"existingfile" help:"Its content."`
}

func (b *blobPut) talk(ctx context.Context, _ *cli, to *connection) error {
	if to.https == nil {
		return errNoBlobs
	}
	f, err := os.Open(b.File)
	if err != nil {
		return err
	}
	defer f.Close()
	return reached(ctx, to.https.PutBlob(ctx, b.ID, f))
}

// blobGet fetches a blob to standard output, or to a file, which is there when all of it is.
type blobGet struct {
	ID     string `arg:"" help:"Id of the blob."`
	Output string `short:"o" placeholder:"FILE" help:"Where to put it; default standard output."`
}

func (b *blobGet) talk(ctx context.Context, c *cli, to *connection) (err error) {
	if to.https == nil {
		return errNoBlobs
	}
	from, err := to.https.GetBlob(ctx, b.ID)
	if err != nil {
		return reached(ctx, err)
	}
	defer from.Close()
	if b.Output == "" {
		_, err := io.Copy(c.out, from)
		return reached(ctx, err)
	}
	partial := b.Output + ".part"
	f, err := os.Create(partial)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(reached(ctx, err), os.Remove(partial))
	}
	return os.Rename(partial, b.Output)
}
