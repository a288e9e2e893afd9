package methods

import (
	"context"
	"io"

	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/spec"
)

// blobs are where packages job and compile get archives from.
type blobs struct{ *blobstore.Client }

var (
	_ job.Blobs     = blobs{}
	_ compile.Blobs = blobs{}
)

// Get fetches from the signed URL if there is one.
func (b blobs) Get(ctx context.Context, s spec.Source) (io.ReadCloser, error) {
	if s.URL != "" {
		return fetched(b.GetSigned(ctx, s.URL, s.Headers, s.Digest))
	}
	return fetched(b.Client.Get(ctx, s.BlobID, s.Digest))
}

// fetched keeps a file that is nil from becoming a reader that is none.
func fetched(file *blobstore.File, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return file, nil
}
