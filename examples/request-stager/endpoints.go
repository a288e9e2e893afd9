package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deakit/deakit/examples/internal/standin"
)

// maxDroplet bounds what is received.
const maxDroplet = 4 << 30

// endpoints stand for a Cloud Controller: one to download the app from, one to post the droplet to. Both want a user and a
// password, which are drawn.
type endpoints struct {
	app    *os.File // zip file
	size   int64
	output string // file for the droplet

	*standin.Server
	id, uploadID string
	timeout      time.Duration

	fetched atomic.Bool // somebody has come for the app

	mu       sync.Mutex
	received string // name of a temporary file; empty as long as there is none
}

// openEndpoints listens on an address. The stager reaches it as reach says, a URL; empty means at that address.
func openEndpoints(app *os.File, output, listen, reach, id string, timeout time.Duration) (*endpoints, error) {
	info, err := app.Stat()
	if err != nil {
		return nil, err
	}
	server, err := standin.Listen(listen, reach)
	if err != nil {
		return nil, err
	}
	return &endpoints{
		app: app, size: info.Size(), output: output, Server: server, id: id, uploadID: rand.Text(), timeout: timeout,
	}, nil
}

// serve answers until ctx ends.
func (e *endpoints) serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /download_unstaged_app/{id}", e.known(e.download))
	mux.HandleFunc("POST /upload_droplet/{id}/{upload}", e.known(e.upload))
	return e.Serve(ctx, mux, e.timeout)
}

func (e *endpoints) downloadURI() string { return e.URI("download_unstaged_app", e.id) }
func (e *endpoints) uploadURI() string   { return e.URI("upload_droplet", e.id, e.uploadID) }

// known has no answers for other apps.
func (e *endpoints) known(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != e.id {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	}
}

func (e *endpoints) download(w http.ResponseWriter, r *http.Request) {
	e.fetched.Store(true)
	w.Header().Set("Content-Type", "application/zip")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(e.app, 0, e.size))
}

// upload takes one droplet, and no second one.
func (e *endpoints) upload(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.received != "" || !standin.Equal(r.PathValue("upload"), e.uploadID) {
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
	file, err := createBeside(e.output)
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

// createBeside creates a temporary file that can get the name output later.
func createBeside(output string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(output), "."+filepath.Base(output)+"-")
}

// checkOutput finds out whether a droplet can be saved, before anybody makes one.
func checkOutput(name string) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--output %s: it is there, and no file", name)
	}
	file, err := createBeside(name)
	if err != nil {
		var failed *os.PathError
		if errors.As(err, &failed) {
			err = failed.Err // which has the name of the temporary file
		}
		return fmt.Errorf("--output %s: a file cannot be made there: %w", name, err)
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
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
