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
	var file *blobstore.File
	var err error
	if s.URL != "" {
		file, err = b.GetSigned(ctx, s.URL, s.Headers, s.Digest)
	} else {
		file, err = b.Client.Get(ctx, s.BlobID, s.Digest)
	}
	if err != nil {
		return nil, err // and no *File that is nil
	}
	return file, nil
}
