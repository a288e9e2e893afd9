package buildpack

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // what people have is often this
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/transfer"
)

// ArchiveOptions say how zip and tar files become buildpacks. The zero value is useful.
type ArchiveOptions struct {
	// MaxBytes bounds the file; default 2 GiB. MaxUnpacked and MaxFiles bound what is in it; default 4 GiB, 500,000.
	MaxBytes    int64
	MaxUnpacked int64
	MaxFiles    int

	// Timeout bounds the download as a whole; default 5 minutes. It ends earlier when nothing comes for 30 s.
	Timeout time.Duration
}

// ErrDigest means that an archive is not the one that the digest behind its name tells of.
var ErrDigest = errors.New("it has another digest")

// An ArchiveError tells that a buildpack could not be had from an archive. Its text has no credentials.
type ArchiveError struct {
	Source string // without user info
	Err    error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("Buildpack %s cannot be used: %v", e.Source, e.Err)
}

// Unwrap returns Err.
func (e *ArchiveError) Unwrap() error { return e.Err }

var digestPattern = regexp.MustCompile(`^(sha256)=([0-9a-fA-F]{64})$|^(sha1)=([0-9a-fA-F]{40})$`)

// cutDigest takes "#sha256=…" or "#sha1=…" from the end of a text. Any other text behind a "#" belongs to the rest.
func cutDigest(text string) (rest, digest string, err error) {
	at := strings.LastIndexByte(text, '#')
	if at < 0 {
		return text, "", nil
	}
	fragment := text[at+1:]
	if m := digestPattern.FindStringSubmatch(fragment); m != nil {
		return text[:at], strings.ToLower(m[1] + m[3] + ":" + m[2] + m[4]), nil
	}
	if strings.HasPrefix(fragment, "sha256=") || strings.HasPrefix(fragment, "sha1=") {
		return "", "", fmt.Errorf("%w: %.80q has the wrong length: sha256 has 64 hexadecimal digits, sha1 has 40", ErrSource, fragment)
	}
	return text, "", nil
}

// newHash returns the hash that a digest is made with; nil for the empty one.
func newHash(digest string) hash.Hash {
	switch {
	case strings.HasPrefix(digest, "sha256:"):
		return sha256.New()
	case strings.HasPrefix(digest, "sha1:"):
		return sha1.New() //nolint:gosec // see above
	}
	return nil
}

func newArchive(s Source, dir string, opts ArchiveOptions) (*Fetched, error) {
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 2<<30)
	opts.Timeout = cmp.Or(opts.Timeout, 5*time.Minute)
	if s.Digest != "" && newHash(s.Digest) == nil {
		return nil, fmt.Errorf("%w: digest %.80q; give sha256:… or sha1:…", ErrSource, s.Digest)
	}
	name := path.Base(redact(s.Location))
	name, _, _ = strings.Cut(name, ".")
	a := archiveSource{s, opts}
	return newFetched(s.String(), dir, name, a.fetch)
}

// An archiveSource gets the files of a buildpack from an archive.
type archiveSource struct {
	Source
	opts ArchiveOptions
}

func (a archiveSource) fetch(ctx context.Context, dir string, log io.Writer) error {
	if err := empty(dir); err != nil {
		return &ArchiveError{a.String(), err}
	}
	if a.Kind == ArchiveURL {
		fmt.Fprintf(log, "-----> Downloading buildpack %s\n", a.String())
	}
	if err := a.into(ctx, dir); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return &ArchiveError{a.String(), err}
	}
	return nil
}

// into unpacks the archive into the empty directory dir.
func (a archiveSource) into(ctx context.Context, dir string) error {
	file, err := a.open(ctx, dir)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > a.opts.MaxBytes {
		return fmt.Errorf("the file has more than %d bytes: %w", a.opts.MaxBytes, tarball.ErrLimit)
	}
	if err := a.verify(ctx, io.NewSectionReader(file, 0, size)); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return unpack(ctx, root, ".", file, size, tarball.Limits{MaxBytes: a.opts.MaxUnpacked, MaxMembers: a.opts.MaxFiles})
}

// open returns the archive: what was downloaded is in a file beside dir that has no name any more.
func (a archiveSource) open(ctx context.Context, dir string) (*os.File, error) {
	if a.Kind == ArchiveFile {
		return os.Open(a.Location)
	}
	file, err := os.CreateTemp(path.Dir(dir), "download-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.opts.Timeout, fmt.Errorf("it took longer than %v", a.opts.Timeout))
	defer cancel()
	err = transfer.Download(ctx, nil, a.Location, file, transfer.DownloadOptions{FollowRedirects: true, MaxBytes: a.opts.MaxBytes})
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (a archiveSource) verify(ctx context.Context, content io.Reader) error {
	h := newHash(a.Digest)
	if h == nil {
		return nil
	}
	if _, err := io.Copy(h, tarball.Bound(ctx, content, tarball.Limits{MaxBytes: a.opts.MaxBytes})); err != nil {
		return err
	}
	kind, want, _ := strings.Cut(a.Digest, ":")
	got := hex.EncodeToString(h.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return fmt.Errorf("%w: %s %s, not %s", ErrDigest, kind, got, want)
	}
	return nil
}
