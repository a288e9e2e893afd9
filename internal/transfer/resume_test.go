package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/transfer"
)

// cutter ends the connection once so many bytes went through.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

var quickly = transfer.DownloadOptions{ResumeDelay: time.Nanosecond}

func TestDownloadIsContinued(t *testing.T) {
	content := strings.Repeat("0123456789", 30_000)
	for name, header := range map[string]http.Header{
		"by entity tag": {"Etag": {`"v1"`}},
		"by time":       {"Last-Modified": {"Sat, 01 Feb 2014 10:00:00 GMT"}},
	} {
		t.Run(name, func(t *testing.T) {
			var ranges []string
			from := serve(t, func(w http.ResponseWriter, r *http.Request) {
				ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
				user, password, _ := r.BasicAuth()
				assert.Equal(t, "staging se/cret", user+" "+password)
				assert.Equal(t, "identity", r.Header.Get("Accept-Encoding"))
				for key, values := range header {
					w.Header()[key] = values
				}
				modified, _ := http.ParseTime(header.Get("Last-Modified"))
				http.ServeContent(&cutter{w, 80_000}, r, "", modified, strings.NewReader(content))
			})
			var got bytes.Buffer
			opts := quickly
			opts.SHA1 = fmt.Sprintf("%x", sha1.Sum([]byte(content)))
			require.NoError(t, transfer.Download(t.Context(), nil, from, &got, opts))
			assert.True(t, content == got.String())
			validator := header.Get("ETag") + header.Get("Last-Modified")
			assert.Equal(t, []string{" ", "bytes=80000- " + validator, "bytes=160000- " + validator, "bytes=240000- " + validator}, ranges)

			ranges = nil
			opts.Resumes = 2
			err := transfer.Download(t.Context(), nil, from, io.Discard, opts)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.Len(t, ranges, 3)
		})
	}
}

// TestDownloadIsNotContinued where the rest could be that of something else, or where the fault is here.
func TestDownloadIsNotContinued(t *testing.T) {
	old := "Sat, 01 Feb 2014 10:00:00 GMT"
	for name, test := range map[string]struct {
		header http.Header
		opts   transfer.DownloadOptions
	}{
		"no ranges":       {http.Header{"Etag": {`"v1"`}}, quickly},
		"nothing to tell": {http.Header{"Accept-Ranges": {"bytes"}}, quickly},
		"weak tag":        {http.Header{"Accept-Ranges": {"bytes"}, "Etag": {`W/"v1"`}}, quickly},
		"modified now":    {http.Header{"Accept-Ranges": {"bytes"}, "Last-Modified": {old}, "Date": {old}}, quickly},
		"not wanted":      {http.Header{"Accept-Ranges": {"bytes"}, "Etag": {`"v1"`}}, transfer.DownloadOptions{Resumes: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			from := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				for key, values := range test.header {
					w.Header()[key] = values
				}
				w.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(&cutter{w, 10}, "more than ten bytes")
			})
			err := transfer.Download(t.Context(), nil, from, io.Discard, test.opts)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.Equal(t, 1, calls)
		})
	}

	full := errors.New("disk full")
	calls := 0
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("content"))
	})
	require.ErrorIs(t, transfer.Download(t.Context(), nil, from, fullDisk{full}, quickly), full)
	opts := quickly
	opts.SHA1 = strings.Repeat("0", 40)
	require.ErrorIs(t, transfer.Download(t.Context(), nil, from, io.Discard, opts), transfer.ErrSHA1Mismatch)
	assert.Equal(t, 2, calls)
}

func TestDownloadRefusesAnotherRest(t *testing.T) {
	const content = "0123456789"
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		text   string
	}{
		"changed content":   {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "abc") }, "changed while"},
		"not there anymore": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, "status: 404"},
		"beyond the end":    {func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) }, "status: 416"},
		"other range":       {partial("bytes 3-9/10", "3456789"), "sent others"},
		"other total":       {partial("bytes 4-10/11", "456789a"), "sent others"},
		"part of the rest":  {partial("bytes 4-8/10", "45678"), "sent others"},
		"no range":          {partial("", "456789"), "sent others"},
		"absurd range":      {partial("bytes 4-99999999999999999999/10", "456789"), "sent others"},
		"negative range":    {partial("bytes -4--1/0", "456789"), "sent others"},
	} {
		t.Run(name, func(t *testing.T) {
			from := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					test.answer(w)
					return
				}
				w.Header().Set("ETag", `"v1"`)
				http.ServeContent(&cutter{w, 4}, r, "", time.Time{}, strings.NewReader(content))
			})
			err := transfer.Download(t.Context(), nil, from, io.Discard, quickly)
			require.ErrorContains(t, err, test.text)
			requireNoSecret(t, err)
		})
	}

	var got strings.Builder
	busy := 0
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(&cutter{w, 4}, r, "", time.Time{}, strings.NewReader(content))
			return
		}
		if busy++; busy == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		partial("bytes 4-9/*", "456789")(w)
	})
	require.NoError(t, transfer.Download(t.Context(), nil, from, &got, quickly), "busy for a moment, and no total")
	assert.Equal(t, content, got.String())
}

func partial(contentRange, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if contentRange != "" {
			w.Header().Set("Content-Range", contentRange)
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, body)
	}
}

func TestDownloadWaitsForItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("a reason")
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(&cutter{w, 4}, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	err := transfer.Download(ctx, nil, from, writerFunc(func(p []byte) (int, error) {
		cancel(reason) // while what came is worked on, before the next request
		return len(p), nil
	}), transfer.DownloadOptions{ResumeDelay: time.Hour})
	require.ErrorIs(t, err, reason)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestTransfersThatTrickle never stand still for long, and yet end.
func TestTransfersThatTrickle(t *testing.T) {
	from := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusOK)
		}
		for tick := time.NewTicker(time.Millisecond); r.Context().Err() == nil; <-tick.C {
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
		}
	})
	err := transfer.Download(t.Context(), nil, from, io.Discard, transfer.DownloadOptions{MaxTime: short})
	require.ErrorIs(t, err, transfer.ErrTimeout)
	require.ErrorContains(t, err, "not done within 100ms")
	err = transfer.Upload(t.Context(), nil, from, strings.NewReader("x"), 1, transfer.UploadOptions{MaxTime: short})
	require.ErrorIs(t, err, transfer.ErrTimeout)
	requireNoSecret(t, err)
}
