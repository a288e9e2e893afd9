// Command hello is a small web app that shows what a platform gives an app and how an app should end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// grace is how long requests in flight may take once the app is told to end. A DEA waits 10 s before it kills.
const grace = 8 * time.Second

func main() {
	log.SetFlags(0)
	log.SetOutput(os.Stdout)
	if err := run(); err != nil {
		log.Fatal("hello: ", err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	listener, err := net.Listen("tcp", address())
	if err != nil {
		return err
	}
	server := &http.Server{Handler: logged(routes()), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Printf("listening on %s", listener.Addr())

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Print("ending: finishing requests in flight")
	deadline, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return fmt.Errorf("requests still in flight after %s: %w", grace, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("ended")
	return nil
}

func address() string {
	return net.JoinHostPort(either(os.Getenv("VCAP_APP_HOST"), "0.0.0.0"), either(os.Getenv("PORT"), "8080"))
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", greet)
	mux.HandleFunc("/env", environment)
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		log.Print("crashing as asked")
		os.Exit(3)
	})
	mux.HandleFunc("/log", func(w http.ResponseWriter, r *http.Request) {
		line := strings.Join(strings.Fields(r.URL.Query().Get("line")), " ")
		log.Print(line)
		fmt.Fprintln(w, "logged")
	})
	return mux
}

func greet(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	var app struct {
		Name       string `json:"application_name"`
		Version    string `json:"application_version"`
		InstanceID string `json:"instance_id"`
		Index      *int   `json:"instance_index"`
	}
	if text := os.Getenv("VCAP_APPLICATION"); text != "" {
		if err := json.Unmarshal([]byte(text), &app); err != nil {
			log.Printf("VCAP_APPLICATION is not what it should be: %v", err)
		}
	}
	index := os.Getenv("CF_INSTANCE_INDEX")
	if index == "" && app.Index != nil {
		index = strconv.Itoa(*app.Index)
	}
	fmt.Fprintf(w, "Hello from %s\ninstance index: %s\ninstance id: %s\nversion: %s\n",
		either(app.Name, "hello"), either(index, "unknown"), either(app.InstanceID, "unknown"), either(app.Version, "unknown"))
}

// shown are the variables whose values are no secrets; of all others only the names are told.
var shown = map[string]bool{
	"PORT": true, "VCAP_APP_HOST": true, "VCAP_APP_PORT": true, "MEMORY_LIMIT": true, "HOME": true, "TMPDIR": true, "PWD": true,
	"CF_INSTANCE_INDEX": true, "CF_INSTANCE_IP": true, "CF_INSTANCE_PORT": true, "CF_INSTANCE_ADDR": true, "CF_INSTANCE_PORTS": true,
}

func environment(w http.ResponseWriter, _ *http.Request) {
	lines := os.Environ()
	for i, line := range lines {
		if name, _, _ := strings.Cut(line, "="); !shown[name] {
			lines[i] = name
		}
	}
	sort.Strings(lines)
	fmt.Fprintln(w, strings.Join(lines, "\n"))
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(either(r.URL.Query().Get("ms"), "1000"))
	if err != nil || ms < 0 || ms > 60000 {
		http.Error(w, "ms must be a number from 0 to 60000", http.StatusBadRequest)
		return
	}
	log.Printf("slow request of %d ms begins", ms)
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		fmt.Fprintf(w, "waited %d ms\n", ms)
	case <-r.Context().Done():
	}
}

// logged writes a line for each request once it is answered.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		next.ServeHTTP(w, r)
		log.Printf("%s %s %s", r.Method, r.URL.EscapedPath(), time.Since(began).Round(time.Millisecond))
	})
}

func either(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
