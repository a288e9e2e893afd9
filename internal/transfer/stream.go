package transfer

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// errEarly: a receiver that answers before it has all cannot have stored all.
var errEarly = errors.New("the receiver answered before the end of the content")

// UploadStream is [Upload] of what fill writes, while it writes it: a droplet, for example, that is packed on the way. The
// length is not known in advance, so the request is chunked and has no Content-Length. A Cloud Controller behind nginx
// refuses that (its upload module wants a length), and a failed upload cannot be tried again without making the content
// again: use it for receivers that are known to take it, and pack to a file for all others.
//
// An error of fill is that of the upload, and the receiver sees the request break off, never its proper end. When
// UploadStream returns, fill has returned, too: writes fail once the upload has. MaxTime bounds fill as well.
func UploadStream(ctx context.Context, client *http.Client, rawURL string, fill func(context.Context, io.Writer) error, opts UploadOptions) error {
	up, err := newUpload(client, rawURL, opts)
	if err != nil {
		return err
	}
	defer up.idle()
	ctx, cancel := withMaxTime(ctx, opts.MaxTime)
	defer cancel()
	from, to := io.Pipe()
	filled := make(chan error, 1)
	go func() {
		err := fill(ctx, to)
		to.CloseWithError(err)
		filled <- err
	}()
	answer, err := up.post(ctx, -1, func() io.Reader { return from })
	from.CloseWithError(errEarly)
	if e := <-filled; e != nil && (err == nil || !errors.Is(e, errEarly)) {
		return &UploadError{Reason: "Upload failed", Err: e}
	}
	if err != nil {
		return err
	}
	return up.settle(ctx, answer)
}
