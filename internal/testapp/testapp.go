// Package testapp lets a test binary be the app that its tests run: a droplet whose start command is the binary
// itself, and the modes in which it behaves.
package testapp

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/appenv"
)

// modeVariable tells the binary that it is the app, and in which mode.
const modeVariable = "TEST_APP"

// The modes of the app.
const (
	Serves       = "serves"        // listens on $PORT; GET /exit ends it with status 3, SIGTERM with 0
	NeverListens = "never listens" // runs, and ends by signals only
	ExitsAtOnce  = "exits at once" // with status 4
	EatsMemory   = "eats memory"   // 256 MB, little by little
	TellsByFile  = "tells by file" // writes state.json beside app/ when it is ready
	Spins        = "spins"         // keeps one core busy
)

// Env is the variable that chooses a mode, for the environment of a start message.
func Env(mode string) string { return modeVariable + "=" + mode }

// Main runs the app and exits, if the process is one. Call it first in TestMain.
func Main() {
	mode := os.Getenv(modeVariable)
	if mode == "" {
		return
	}
	fmt.Println("app in mode", mode)
	switch mode {
	case Serves:
		serve()
	case ExitsAtOnce:
		os.Exit(4)
	case EatsMemory:
		eat()
	case Spins:
		for n := uint64(1); n != 0; n++ { // until the end of time
		}
	case TellsByFile:
		time.Sleep(50 * time.Millisecond) // an app takes its time to come up
		if err := os.WriteFile("../state.json", []byte(`{"state":"RUNNING"}`), 0o600); err != nil {
			panic(err)
		}
	}
	select {}
}

func serve() {
	mux := http.NewServeMux()
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv("VCAP_APPLICATION")) })
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { <-term; fmt.Println("told to end"); os.Exit(0) }()
	panic(http.ListenAndServe(net.JoinHostPort(os.Getenv("VCAP_APP_HOST"), os.Getenv("PORT")), mux))
}

func eat() {
	var hoard [][]byte
	for len(hoard) < 64 {
		block := make([]byte, 4<<20)
		for i := range block {
			block[i] = byte(i)
		}
		hoard = append(hoard, block)
		time.Sleep(10 * time.Millisecond) // the watcher looks from time to time
	}
}

// A Droplet is a droplet file.
type Droplet struct {
	Path string
	SHA1 string
}

// NewDroplet makes a droplet that runs the app, with other files beside it, in a directory of the test.
func NewDroplet(t testing.TB, files map[string]string) Droplet {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := droplet.StagingInfo{StartCommand: "exec " + appenv.ShellQuote(self)}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{droplet.InfoName: string(info), "app/hello.txt": "hello"}
	for name, content := range files {
		all[name] = content
	}
	return PackDroplet(t, all)
}

// PackDroplet makes a droplet of just these files, all executable.
func PackDroplet(t testing.TB, files map[string]string) Droplet {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, "source", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "source"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	file, err := os.Create(filepath.Join(dir, "droplet.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	digest, err := droplet.Pack(t.Context(), file, root, ".", droplet.PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return Droplet{file.Name(), digest.SHA1}
}
