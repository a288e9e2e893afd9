package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/httpserve"
)

// maxDroplet bounds what is received.
const maxDroplet = 4 << 30

// endpoints stand for a Cloud Controller: one to download the app from, one to post the droplet to. Both want a user and a
// password, which are drawn.
type endpoints struct {
	app    *os.File // zip file
	size   int64
	output string // file for the droplet

	base           *url.URL
	user, password string
	id, uploadID   string
	server         *http.Server
	listener       net.Listener

	mu       sync.Mutex
	received string // name of a temporary file; empty as long as there is none
}

// openEndpoints listens on an address. The stager reaches it as reach says, a URL; empty means at that address.
func openEndpoints(app *os.File, output, listen, reach, id string, timeout time.Duration) (*endpoints, error) {
	info, err := app.Stat()
	if err != nil {
		return nil, err
	}
	e := &endpoints{
		app: app, size: info.Size(), output: output, id: id, user: rand.Text(), password: rand.Text(), uploadID: rand.Text(),
	}
	if e.listener, err = net.Listen("tcp", listen); err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	if reach == "" {
		reach = "http://" + e.listener.Addr().String()
	}
	if e.base, err = url.Parse(reach); err != nil || e.base.Host == "" {
		return nil, errors.Join(errors.New("--url must have the form http://host:port"), e.listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /download_unstaged_app/{id}", e.guarded(e.download))
	mux.HandleFunc("POST /upload_droplet/{id}/{upload}", e.guarded(e.upload))
	e.server = httpserve.New(mux, slog.New(slog.DiscardHandler))
	e.server.ReadTimeout, e.server.WriteTimeout = timeout, timeout
	return e, nil
}

// serve answers until ctx ends.
func (e *endpoints) serve(ctx context.Context) error { return httpserve.Run(ctx, e.server, e.listener) }

func (e *endpoints) uri(parts ...string) string {
	u := e.base.JoinPath(parts...)
	u.User = url.UserPassword(e.user, e.password)
	return u.String()
}

func (e *endpoints) downloadURI() string { return e.uri("download_unstaged_app", e.id) }
func (e *endpoints) uploadURI() string   { return e.uri("upload_droplet", e.id, e.uploadID) }

func (e *endpoints) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if !equal(user, e.user) || !equal(password, e.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="request-stager"`)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if r.PathValue("id") != e.id {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	}
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (e *endpoints) download(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/zip")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(e.app, 0, e.size))
}

// upload takes one droplet, and no second one.
func (e *endpoints) upload(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.received != "" || !equal(r.PathValue("upload"), e.uploadID) {
		http.Error(w, "This upload is over", http.StatusBadRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDroplet)
	name, err := e.receive(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.received = name
}

// receive writes the part of the form that is the droplet to a temporary file, and returns its name.
func (e *endpoints) receive(r *http.Request) (name string, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return "", err
	}
	for {
		var part *multipart.Part
		if part, err = form.NextPart(); err != nil {
			return "", errors.New("there is no part upload[droplet]")
		}
		if part.FormName() == "upload[droplet]" {
			return e.save(part)
		}
	}
}

func (e *endpoints) save(content io.Reader) (name string, err error) {
	file, err := os.CreateTemp(filepath.Dir(e.output), "."+filepath.Base(e.output)+"-")
	if err != nil {
		return "", errors.New("there is no place for the droplet")
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			_ = os.Remove(file.Name()) // it is a part of a droplet
		}
	}()
	_, err = io.Copy(file, content)
	return file.Name(), err
}

// keep gives the droplet its name, and returns its size.
func (e *endpoints) keep() (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.received == "" {
		return 0, errors.New("the stager says that all is well, and has posted no droplet")
	}
	info, err := os.Stat(e.received)
	if err == nil {
		err = os.Chmod(e.received, 0o644)
	}
	if err == nil {
		err = os.Rename(e.received, e.output)
	}
	if err != nil {
		return 0, fmt.Errorf("save the droplet: %w", err)
	}
	e.received = ""
	return info.Size(), nil
}

// discard removes a droplet that nobody keeps.
func (e *endpoints) discard() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.received == "" {
		return nil
	}
	return os.Remove(e.received)
}
