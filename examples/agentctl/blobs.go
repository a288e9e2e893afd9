package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/transport"
)

// Over NATS, a message brings a blob there.
var errNoBlobs = fmt.Errorf("%w: an agent has blobs over HTTPS only; agentctl upload sends one in a message", errLocal)

// checkBlobID refuses what no agent takes.
func checkBlobID(id string) error {
	if !transport.IsBlobID(id) {
		return fmt.Errorf("%w: blob id %.80q: letters, digits, '.', '_' and '-' only, and not tmp", errUsage, id)
	}
	return nil
}

// blobPut stores a file of any length.
type blobPut struct {
	ID   string `arg:"" help:"Id of the blob."`
	File string `arg:"" type:"existingfile" help:"Its content."`
}

func (b *blobPut) talk(ctx context.Context, _ *cli, to *connection) error {
	if err := checkBlobID(b.ID); err != nil {
		return err
	}
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

func (b *blobGet) talk(ctx context.Context, c *cli, to *connection) error {
	from, err := to.blob(ctx, b.ID)
	if err != nil {
		return err
	}
	defer from.Close()
	if b.Output == "" {
		_, err := io.Copy(c.out, from)
		return reached(ctx, err)
	}
	return store(ctx, b.Output, from)
}

// save fetches the blob that a result names.
func (c *cli) save(ctx context.Context, to *connection, value json.RawMessage, name string) error {
	var result struct {
		client.Logs
		Result client.Compiled `json:"result"`
	}
	if err := json.Unmarshal(value, &result); err != nil {
		return fmt.Errorf("the agent's result names no blob: %w", err)
	}
	id := result.BlobID
	if id == "" {
		id = result.Result.BlobID
	}
	from, err := to.blob(ctx, id)
	if err != nil {
		return fmt.Errorf("the result is %s, but cannot be fetched: %w", value, err)
	}
	defer from.Close()
	return store(ctx, name, from)
}

// blob opens a blob: one of the store of an agent in a directory, which has the results of methods, or one that was put at the
// agent.
func (to *connection) blob(ctx context.Context, id string) (io.ReadCloser, error) {
	if err := checkBlobID(id); err != nil {
		return nil, err
	}
	if to.dir != "" {
		f, err := os.Open(filepath.Join(to.dir, "blobstore", id))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if to.https == nil {
			return nil, fmt.Errorf("%w: %s is not in the blob store of %s", errNoBlob, id, to.dir)
		}
	}
	if to.https == nil {
		return nil, errNoBlobs
	}
	from, err := to.https.GetBlob(ctx, id)
	var status *client.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s is not at the agent; results of methods are in the blob store of its settings, and what upload brought cannot be read back", errNoBlob, id)
	}
	return from, reached(ctx, err)
}

// store makes a file of all there is.
func store(ctx context.Context, name string, from io.Reader) error {
	partial := name + ".part"
	f, err := os.Create(partial)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(reached(ctx, err), os.Remove(partial))
	}
	return os.Rename(partial, name)
}
