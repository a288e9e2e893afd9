package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"strconv"

	"github.com/deakit/deakit/internal/atomicfile"
)

// Blobs are what peers put at an agent over HTTPS, and get from it. Ids have been checked with [IsBlobID].
type Blobs interface {
	// Put stores what r has, in place of what was there. When r fails, nothing changes.
	Put(ctx context.Context, id string, r io.Reader) error

	// Get opens a blob, which the caller closes, and tells its size. It fails with fs.ErrNotExist when there is none.
	Get(ctx context.Context, id string) (io.ReadCloser, int64, error)
}

var blobID = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// IsBlobID tells whether a text can be the id of a blob: letters, digits, '.', '_' and '-', but neither "." nor ".." nor "tmp",
// which is a directory.
func IsBlobID(id string) bool {
	return len(id) <= 255 && blobID.MatchString(id) && id != "." && id != ".." && id != "tmp"
}

// serveBlob answers GET and PUT of /blobs/<id>. As in bosh-agent the id is the last element of the path.
func (h *HTTPS) serveBlob(w http.ResponseWriter, r *http.Request) {
	_, id := path.Split(r.URL.Path)
	switch r.Method {
	case http.MethodGet:
		h.getBlob(w, r, id)
	case http.MethodPut:
		h.putBlob(w, r, id)
	default:
		http.NotFound(w, r)
	}
}

func (h *HTTPS) putBlob(w http.ResponseWriter, r *http.Request, id string) {
	err := fmt.Errorf("blob id %.80q: letters, digits, '.', '_' and '-' only, and not tmp", id)
	if IsBlobID(id) {
		err = h.cfg.Blobs.Put(r.Context(), id, h.body(w, r, h.cfg.MaxBlob))
	}
	w = h.writer(w)
	if err != nil {
		h.log.Error("agent.blob.refused", "blob", id, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.log.Info("agent.blob.stored", "blob", id)
	w.WriteHeader(http.StatusCreated)
}

func (h *HTTPS) getBlob(w http.ResponseWriter, r *http.Request, id string) {
	if !IsBlobID(id) {
		http.NotFound(w, r)
		return
	}
	h.pace(w).silence()
	blob, size, err := h.cfg.Blobs.Get(r.Context(), id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(w, r)
		return
	case err != nil:
		h.log.Error("agent.blob.unreadable", "blob", id, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer blob.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.Copy(h.writer(w), blob); err != nil {
		h.log.Warn("agent.blob.cut", "blob", id, "error", err) // the peer sees that bytes are missing
	}
}

// DirBlobs keeps blobs as files of a directory, such as /var/vcap/data/blobs, and what is not complete in tmp below it.
type DirBlobs struct{ root *os.Root }

// NewDirBlobs uses a directory, which stays the caller's and must be open for as long as the blobs are used. It makes tmp,
// and empties it: whatever is there was left by a process that died.
func NewDirBlobs(root *os.Root) (*DirBlobs, error) {
	left, err := fs.ReadDir(root.FS(), "tmp")
	if err != nil { // it is not there, or no directory
		if err := errors.Join(root.RemoveAll("tmp"), root.Mkdir("tmp", 0o750)); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	for _, entry := range left {
		if err := root.RemoveAll(path.Join("tmp", entry.Name())); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	return &DirBlobs{root}, nil
}

// Put implements Blobs.
func (d *DirBlobs) Put(_ context.Context, id string, r io.Reader) error {
	f, err := atomicfile.Create(d.root, "tmp", 0o640)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	defer f.Close()
	if _, err := io.Copy(f.File, r); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return f.Commit(id)
}

// Get implements Blobs.
func (d *DirBlobs) Get(_ context.Context, id string) (io.ReadCloser, int64, error) {
	f, err := d.root.Open(id)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("blob %s is not a file: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
