package transfer_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/transfer"
)

func TestUploadStream(t *testing.T) {
	content := strings.Repeat("droplet ", 100_000)
	var got string
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"entity":{"status":"finished"}}`)
			return
		}
		assert.Equal(t, []string{"chunked"}, r.TransferEncoding)
		assert.Equal(t, "async=true&a=b", r.URL.RawQuery)
		file, header, err := r.FormFile("upload[droplet]")
		if assert.NoError(t, err) {
			data, err := io.ReadAll(file)
			assert.NoError(t, err)
			got = string(data)
			assert.Equal(t, "droplet.tgz", header.Filename)
		}
		_, _ = io.WriteString(w, `{"metadata":{"url":"http://`+r.Host+`/job"},"entity":{"status":"queued"}}`)
	})
	err := transfer.UploadStream(t.Context(), nil, to+"/?a=b", func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}, transfer.UploadOptions{})
	require.NoError(t, err)
	assert.True(t, content == got)
}

func TestUploadStreamFails(t *testing.T) {
	fault := errors.New("a fault")
	whole := make(chan bool, 1)
	to := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusCreated)
		case "/refuses":
			w.WriteHeader(http.StatusLengthRequired)
		default:
			_, err := io.Copy(io.Discard, r.Body)
			whole <- err == nil
		}
	})
	endless := func(_ context.Context, w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	var failed *transfer.UploadError

	err := transfer.UploadStream(t.Context(), nil, to, func(_ context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, "some of it")
		return fault
	}, transfer.UploadOptions{})
	require.ErrorIs(t, err, fault)
	require.ErrorAs(t, err, &failed)
	requireNoSecret(t, err)
	assert.False(t, <-whole, "the receiver takes half of it for all of it")

	err = transfer.UploadStream(t.Context(), nil, to+"/early", endless, transfer.UploadOptions{})
	require.ErrorAs(t, err, &failed)
	err = transfer.UploadStream(t.Context(), nil, to+"/refuses", endless, transfer.UploadOptions{})
	require.ErrorAs(t, err, &failed)

	ctx, cancel := context.WithCancelCause(t.Context())
	err = transfer.UploadStream(ctx, nil, to, func(ctx context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, "some of it")
		cancel(fault)
		<-ctx.Done()
		return ctx.Err()
	}, transfer.UploadOptions{})
	require.Error(t, err)
	<-whole
	require.ErrorAs(t, transfer.UploadStream(t.Context(), nil, "http://a:b@/", nil, transfer.UploadOptions{}), &failed)
	require.ErrorAs(t, transfer.UploadStream(t.Context(), nil, to, endless, transfer.UploadOptions{MaxTime: short}), &failed)
	<-whole
}
