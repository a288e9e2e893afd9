// Command static-server serves the files below one directory over HTTP. The static buildpack builds it into apps, with
// whatever Go it finds, so it uses no part of the standard library that came after Go 1.19.
package main

import (
	"context"
	"errors"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
)

// grace is how long requests in flight may take once the server is told to end. A DEA waits 10 s before it kills.
const grace = 8 * time.Second

func main() {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	if len(os.Args) != 2 {
		log.Fatal("usage: static-server DIRECTORY")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal("static-server: ", err)
	}
}

func run(root string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := net.Listen("tcp", net.JoinHostPort(variable("VCAP_APP_HOST", "0.0.0.0"), variable("PORT", "8080")))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: logged(http.FileServer(site{http.Dir(root)})), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Printf("serving %s on %s", root, listener.Addr())

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("ended")
	return nil
}

// site shows the files of a directory without those that are not meant to be seen, and without lists of names.
type site struct{ files http.FileSystem }

func (s site) Open(name string) (http.File, error) {
	if hidden(name) {
		return nil, fs.ErrNotExist
	}
	file, err := s.files.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = s.hasIndex(name)
	}
	if err != nil {
		_ = file.Close() // only read
		return nil, err
	}
	return file, nil
}

// hasIndex fails for a directory without index.html: http.FileServer would list its names.
func (s site) hasIndex(dir string) error {
	index, err := s.files.Open(path.Join(dir, "index.html"))
	if err != nil {
		return err
	}
	return index.Close()
}

func hidden(name string) bool {
	return strings.Contains(name, "/.") || name == "/Staticfile" || name == "/Procfile"
}

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		log.Printf("%s %s", r.Method, r.URL.EscapedPath())
	})
}

func variable(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
