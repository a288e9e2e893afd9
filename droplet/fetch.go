package droplet

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
)

// Fetch returns the droplet with the given SHA-1, 40 hexadecimal digits. If it is there and its digest is right, fetch
// is not called; a damaged file counts as missing. Otherwise fetch writes the droplet to the writer it gets; what it
// wrote is checked (ErrDigestMismatch) and put in place. An error of fetch is returned as it is.
//
// Calls for the same digest share one check and one download, that of the first call, and all get its result. The
// context that fetch gets ends when all calls that wait have ended theirs, not with the first one's.
//
// The digest of a file is taken once in the life of the Store, and again when its size, times or inode have changed.
// The caller releases the Ref.
func (s *Store) Fetch(ctx context.Context, sha1 string, fetch func(context.Context, io.Writer) error) (*Ref, error) {
	sha1 = strings.ToLower(sha1)
	if !digestPattern.MatchString(sha1) {
		return nil, fmt.Errorf("fetch droplet: SHA-1 %.60q is not 40 hexadecimal digits", sha1)
	}
	err := s.shelf.Fetch(ctx, sha1, func(ctx context.Context) error { return s.ensure(ctx, sha1, fetch) })
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("fetch droplet %s: %w", sha1, err)
	}
	if err != nil {
		return nil, err
	}
	return &Ref{store: s, sha1: sha1}, nil
}

// ensure makes sure that the droplet is there and right. It runs in a flight.
func (s *Store) ensure(ctx context.Context, sha1 string, fetch func(context.Context, io.Writer) error) error {
	right, err := s.verify(ctx, sha1)
	if err != nil {
		return fmt.Errorf("verify droplet %s: %w", sha1, err)
	}
	if right {
		return nil
	}
	f, err := atomicfile.Create(s.root, ".", fileMode)
	if err != nil {
		return fmt.Errorf("fetch droplet %s: %w", sha1, err)
	}
	defer f.Close()
	h := newHasher(onlyWriter{f})
	if err := fetch(ctx, h); err != nil {
		return err
	}
	if got := h.digest(); got.SHA1 != sha1 {
		return fmt.Errorf("fetch droplet %s: %w: got %s (%d bytes)", sha1, ErrDigestMismatch, got.SHA1, got.Size)
	}
	if err := s.place(f, sha1); err != nil {
		return fmt.Errorf("fetch droplet %s: %w", sha1, err)
	}
	return nil
}

// verify tells whether the droplet is on disk with the right digest.
func (s *Store) verify(ctx context.Context, want string) (bool, error) {
	f, err := s.root.OpenFile(path.Join(want, fileName), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	id := idOf(info)
	s.mu.Lock()
	known := s.known[want].verified
	s.mu.Unlock()
	if known == id {
		return true, nil
	}
	h := sha1.New()
	if _, err := io.CopyBuffer(h, contextReader{ctx, f}, make([]byte, chunkBytes)); err != nil {
		return false, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		s.log.Warn("droplet in the store is damaged", "sha1", want, "found", got)
		return false, nil
	}
	s.setVerified(want, id)
	return true, nil
}

func idOf(info fs.FileInfo) fileID {
	st := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

func (s *Store) setVerified(sha1 string, id fileID) {
	s.remember(sha1, func(k *known) { k.verified, k.lastUse = id, time.Now() })
}

// place puts a complete and verified file where the droplet belongs. The digest is held.
func (s *Store) place(f *atomicfile.File, sha1 string) error {
	if err := s.root.Mkdir(sha1, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := path.Join(sha1, fileName)
	if err := f.Commit(name); err != nil {
		return err
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return err
	}
	s.setVerified(sha1, idOf(info))
	return nil
}

// Put stores a droplet that was just made and returns its digest. It reads r to its end; ctx is looked at between
// chunks. The caller releases the Ref.
func (s *Store) Put(ctx context.Context, r io.Reader) (Digest, *Ref, error) {
	digest, ref, err := s.put(ctx, r)
	if err != nil {
		return Digest{}, nil, fmt.Errorf("store droplet: %w", err)
	}
	return digest, ref, nil
}

func (s *Store) put(ctx context.Context, r io.Reader) (Digest, *Ref, error) {
	done, err := s.shelf.Begin()
	if err != nil {
		return Digest{}, nil, err
	}
	defer done()
	f, err := atomicfile.Create(s.root, ".", fileMode)
	if err != nil {
		return Digest{}, nil, err
	}
	defer f.Close()
	h := newHasher(onlyWriter{f})
	if _, err := io.CopyBuffer(onlyWriter{h}, contextReader{ctx, r}, make([]byte, chunkBytes)); err != nil {
		return Digest{}, nil, err
	}
	digest := h.digest()
	s.shelf.Hold(digest.SHA1)
	if err := s.place(f, digest.SHA1); err != nil {
		s.shelf.Release(digest.SHA1)
		return Digest{}, nil, err
	}
	return digest, &Ref{store: s, sha1: digest.SHA1}, nil
}
