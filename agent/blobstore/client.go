package blobstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/deakit/deakit/agent/digest"
)

// Config says where a [Client] looks for blobs.
type Config struct {
	Store Store // the configured one; required

	// Sent are directories of blobs that were sent to the agent, which are asked before the store, in this order. The Go
	// agent has data/sensitive_blobs and data/blobs.
	Sent []*Local

	TempDir     string        // of the files that Get returns; default os.TempDir()
	MaxBytes    int64         // of one blob; default 8 GiB
	Tries       int           // of what may pass; default 3
	Delay       time.Duration // between them; default 500 ms; negative for none
	SignedDelay time.Duration // between tries of a signed URL; default 5 s; negative for none
	HTTP        *http.Client  // for signed URLs; default NewHTTPClient(HTTPOptions{})
	Logger      *slog.Logger  // nil discards
}

// A Client fetches and stores blobs as an agent does. Its methods may be called from several goroutines at once.
type Client struct {
	cfg Config
	log *slog.Logger
}

// NewClient checks the configuration; it connects to nothing.
func NewClient(cfg Config) (*Client, error) {
	if cfg.Store == nil {
		return nil, errors.New("blobstore: a client needs a Store")
	}
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 8<<30)
	cfg.Tries = max(1, cmp.Or(cfg.Tries, 3))
	cfg.Delay = cmp.Or(cfg.Delay, 500*time.Millisecond)
	cfg.SignedDelay = cmp.Or(cfg.SignedDelay, 5*time.Second)
	cfg.TempDir = cmp.Or(cfg.TempDir, os.TempDir())
	if cfg.HTTP == nil {
		client, err := NewHTTPClient(HTTPOptions{})
		if err != nil {
			return nil, err
		}
		cfg.HTTP = client
	}
	return &Client{cfg, cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}, nil
}

// Get fetches a blob, checks its digest, and returns it as a file at its start. The zero digest checks nothing. A wrong
// digest is a [*digest.MismatchError]; what was sent to the agent and is wrong is not looked for elsewhere.
func (c *Client) Get(ctx context.Context, id string, want digest.Digest) (*File, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	for _, sent := range c.cfg.Sent {
		f, err := c.fetch(want, func(w io.Writer) error { return sent.Get(ctx, id, w) })
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalidID) {
			return f, err
		}
	}
	return c.try(ctx, c.cfg.Delay, func() (*File, error) {
		return c.fetch(want, func(w io.Writer) error { return c.cfg.Store.Get(ctx, id, w) })
	})
}

// Put stores r under a new id, and returns that with the SHA-1 of the content.
func (c *Client) Put(ctx context.Context, r io.ReadSeeker) (id string, d digest.Digest, err error) {
	if d, err = c.digest(ctx, r, digest.SHA1); err != nil {
		return "", d, fmt.Errorf("store blob: %w", err)
	}
	id = NewID()
	_, err = c.try(ctx, c.cfg.Delay, func() (*File, error) { return nil, c.cfg.Store.Put(ctx, id, r) })
	if err != nil {
		return "", digest.Digest{}, err
	}
	return id, d, nil
}

// Forget removes a blob from what was sent to the agent. The store keeps what it has.
func (c *Client) Forget(ctx context.Context, id string) error {
	var errs []error
	for _, sent := range c.cfg.Sent {
		errs = append(errs, sent.Delete(ctx, id))
	}
	return errors.Join(errs...)
}

// Clean removes what a process that was killed left half-written in the directories of the client. It is for the start,
// while nobody else uses them.
func (c *Client) Clean() error {
	errs := []error{clean(c.cfg.TempDir)}
	for _, sent := range c.cfg.Sent {
		errs = append(errs, sent.Clean())
	}
	return errors.Join(errs...)
}

// digest reads all of r.
func (c *Client) digest(ctx context.Context, r io.ReadSeeker, by ...digest.Algorithm) (digest.Digest, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return digest.Digest{}, err
	}
	return digest.Of(reader{ctx, r}, by...)
}

// fetch makes a file of what get writes, if its digest is right.
func (c *Client) fetch(want digest.Digest, get func(io.Writer) error) (_ *File, err error) {
	f, err := newFile(c.cfg.TempDir)
	if err != nil {
		return nil, fmt.Errorf("fetch blob: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	var w io.Writer = &limited{f, c.cfg.MaxBytes, c.cfg.MaxBytes}
	var verifier *digest.Verifier
	if !want.IsZero() {
		if verifier, err = want.NewVerifier(); err != nil {
			return nil, fmt.Errorf("fetch blob: %w", err)
		}
		w = io.MultiWriter(w, verifier)
	}
	if err := get(w); err != nil {
		return nil, err
	}
	if verifier != nil {
		if err := verifier.Check(); err != nil {
			return nil, fmt.Errorf("check downloaded blob: %w", err)
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("fetch blob: %w", err)
	}
	return f, nil
}

// try does something again while it fails with what may pass.
func (c *Client) try(ctx context.Context, delay time.Duration, what func() (*File, error)) (*File, error) {
	for n := 1; ; n++ {
		f, err := what()
		if err == nil || n >= c.cfg.Tries || final(err) || ctx.Err() != nil {
			return f, err
		}
		c.log.Warn("blobstore.retry", "error", err, "try", n, "of", c.cfg.Tries)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
		case <-time.After(delay):
		}
	}
}

// final tells errors that another try cannot mend.
func final(err error) bool {
	for _, kind := range []error{ErrNotFound, ErrInvalidID, ErrTooLarge, ErrExists, ErrReadOnly, errors.ErrUnsupported,
		syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, kind) {
			return true
		}
	}
	unknown := (*digest.UnknownError)(nil)
	return errors.As(err, &unknown)
}

// limited refuses what goes beyond max.
type limited struct {
	io.Writer
	left, max int64
}

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, fmt.Errorf("more than %d bytes: %w", l.max, ErrTooLarge)
	}
	l.left -= int64(len(p))
	return l.Writer.Write(p)
}
