// Package blobs is the blob store of the reference platform: the HTTP endpoints that a Cloud Controller offers to
// stagers and DEAs for app packages, droplets, buildpack caches and buildpacks. Everything is a file below one
// directory, written whole or not at all.
package blobs

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name of a droplet in the protocol
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"

	"github.com/deakit/deakit/internal/atomicfile"
)

// Config of a store. Dir is required.
type Config struct {
	Dir            string // holds the files; it is made if need be
	User, Password string // asked of everyone; they are part of the URLs that Store makes
	MaxBytes       int64  // of one file; default 1 GiB
}

// Kinds of files, each a directory.
const (
	packages   = "packages"
	droplets   = "droplets"
	caches     = "buildpack_cache"
	buildpacks = "buildpacks"
)

// ErrKey: a guid, digest or key has characters that it must not have.
var ErrKey = errors.New("invalid name: use up to 128 letters, digits, '-', '_' and '.'")

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// A Store keeps files and serves them. It may be used from several goroutines at once.
type Store struct {
	cfg  Config
	root *os.Root
	mux  *http.ServeMux
	base *url.URL // of the URLs
}

// New opens a store that will be reached at the base URL. The caller closes it.
func New(cfg Config, base string) (*Store, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	address, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	address.User = url.UserPassword(cfg.User, cfg.Password)
	for _, kind := range []string{packages, droplets, caches, buildpacks} {
		if err := os.MkdirAll(path.Join(cfg.Dir, kind), 0o700); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	s := &Store{cfg: cfg, root: root, mux: http.NewServeMux(), base: address}
	s.routes()
	return s, nil
}

// Close gives the directory back.
func (s *Store) Close() error { return s.root.Close() }

// PackageURL is where the package of an app is read.
func (s *Store) PackageURL(app string) string { return s.url("staging", "apps", app) }

// DropletUploadURL is where a stager puts the droplet of an app.
func (s *Store) DropletUploadURL(app string) string {
	return s.url("staging", "droplets", app, "upload")
}

// DropletURL is where a DEA reads a droplet of an app.
func (s *Store) DropletURL(app, sha1 string) string { return s.url("staged_droplets", app, sha1) }

// CacheURL is where a stager reads the buildpack cache of an app.
func (s *Store) CacheURL(app string) string {
	return s.url("staging", "buildpack_cache", app, "download")
}

// CacheUploadURL is where a stager puts the buildpack cache of an app.
func (s *Store) CacheUploadURL(app string) string {
	return s.url("staging", "buildpack_cache", app, "upload")
}

// BuildpackURL is where a stager reads a buildpack.
func (s *Store) BuildpackURL(key string) string { return s.url("v2", "buildpacks", key, "download") }

func (s *Store) url(parts ...string) string { return s.base.JoinPath(parts...).String() }

// PutPackage stores the source of an app.
func (s *Store) PutPackage(ctx context.Context, app string, r io.Reader) error {
	_, err := s.put(ctx, packages, app, r)
	return err
}

// PutBuildpack stores a buildpack, a zip file, under a key that changes with its content.
func (s *Store) PutBuildpack(ctx context.Context, key string, r io.Reader) error {
	_, err := s.put(ctx, buildpacks, key, r)
	return err
}

// put writes a file and returns its SHA-1.
func (s *Store) put(ctx context.Context, dir, key string, r io.Reader) (digest string, err error) {
	if !keyForm.MatchString(key) {
		return "", ErrKey
	}
	file, err := atomicfile.Create(s.root, dir, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	sum := sha1.New() //nolint:gosec // see above
	n, err := io.Copy(io.MultiWriter(file, sum), &bounded{ctx: ctx, r: r, left: s.cfg.MaxBytes})
	if err != nil {
		return "", fmt.Errorf("after %d bytes: %w", n, err)
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	name := key
	if path.Base(path.Dir(dir)) == droplets {
		name = digest
	}
	return digest, file.Commit(path.Join(dir, name))
}

// bounded fails when more comes than may, or nobody waits for it any more.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &http.MaxBytesError{}
	}
	return n, err
}

func (s *Store) routes() {
	s.mux.HandleFunc("GET /staging/apps/{key}", s.serve(packages))
	s.mux.HandleFunc("GET /staging/buildpack_cache/{key}/download", s.serve(caches))
	s.mux.HandleFunc("GET /v2/buildpacks/{key}/download", s.serve(buildpacks))
	s.mux.HandleFunc("GET /staged_droplets/{app}/{key}", func(w http.ResponseWriter, r *http.Request) {
		if !keyForm.MatchString(r.PathValue("app")) {
			http.NotFound(w, r)
			return
		}
		s.serve(path.Join(droplets, r.PathValue("app")))(w, r)
	})
	s.mux.HandleFunc("POST /staging/buildpack_cache/{key}/upload", func(w http.ResponseWriter, r *http.Request) {
		s.upload(w, r, caches, r.PathValue("key"))
	})
	s.mux.HandleFunc("POST /staging/droplets/{key}/upload", func(w http.ResponseWriter, r *http.Request) {
		app := r.PathValue("key")
		if !keyForm.MatchString(app) {
			http.Error(w, ErrKey.Error(), http.StatusBadRequest)
			return
		}
		dir := path.Join(droplets, app)
		if err := s.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.upload(w, r, dir, "droplet")
	})
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	right := subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.User)) &
		subtle.ConstantTimeCompare([]byte(password), []byte(s.cfg.Password))
	if right != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="blobs"`)
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Store) serve(dir string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.PathValue("key")
		if !keyForm.MatchString(key) {
			http.NotFound(w, r)
			return
		}
		file, err := s.root.Open(path.Join(dir, key))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil || !info.Mode().IsRegular() {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, key, info.ModTime(), file)
	}
}

// upload stores the part upload[droplet] of a form, as the DEA sends it for droplets and caches alike. Answered is
// without "url" in the body: the upload is over, there is nothing to poll.
func (s *Store) upload(w http.ResponseWriter, r *http.Request, dir, key string) {
	part, err := uploadPart(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer part.Close()
	digest, err := s.put(r.Context(), dir, key, part)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "the file is too large", http.StatusRequestEntityTooLarge)
	case errors.Is(err, ErrKey), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, multipart.ErrMessageTooLarge):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"sha1":%q}`, digest) // a client that is gone sees no answer
	}
}

func uploadPart(r *http.Request) (*multipart.Part, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	part, err := form.NextPart()
	if err != nil {
		return nil, fmt.Errorf("the form has no part: %w", err)
	}
	if part.FormName() != "upload[droplet]" {
		return nil, fmt.Errorf("the first part of the form is %q, not upload[droplet]", part.FormName())
	}
	return part, nil
}
