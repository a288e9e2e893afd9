package warden

import (
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// pipes are the named pipes of one process, and our ends of them. A pipe that nobody wants is the null device.
type pipes struct {
	hostDir   string // of the exchange directory
	insideDir string
	token     string // begins their names, which cannot be guessed

	ctl    *os.File    // both ends; the start script writes to it
	stdin  *os.File    // nil where there is no input
	out    [2]*os.File // nil where output is discarded
	joined bool        // standard error goes where standard output goes

	// Other ends, held open until the process has its own: without them we would read an end of file at once.
	holders []*os.File
}

func (p *pipes) host(name string) string { return filepath.Join(p.hostDir, p.token+"."+name) }

// inside is what processes call a pipe.
func (p *pipes) inside(name string) string {
	if name == "err" && p.joined {
		name = "out"
	}
	ours := map[string]*os.File{"ctl": p.ctl, "in": p.stdin, "out": p.out[stdout], "err": p.out[stderr]}
	if ours[name] == nil {
		return "/dev/null"
	}
	return path.Join(p.insideDir, p.token+"."+name)
}

// makePipes makes the pipes that pio needs. The caller closes them, and removes them when the process has opened them.
func makePipes(hostDir, insideDir string, pio container.IO) (*pipes, error) {
	p := &pipes{hostDir: hostDir, insideDir: insideDir, token: rand.Text(), joined: containerkit.SameWriter(pio.Stdout, pio.Stderr)}
	if err := p.makeAll(pio); err != nil {
		p.close()
		p.remove()
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	return p, nil
}

func (p *pipes) makeAll(pio container.IO) error {
	err := p.make("ctl")
	if err == nil {
		p.ctl, err = p.open("ctl", os.O_RDWR)
	}
	if err == nil && pio.Stdin != nil {
		p.stdin, err = p.pair("in", os.O_WRONLY)
	}
	if err == nil && pio.Stdout != nil {
		p.out[stdout], err = p.pair("out", os.O_RDONLY)
	}
	if err == nil && pio.Stderr != nil && !p.joined {
		p.out[stderr], err = p.pair("err", os.O_RDONLY)
	}
	return err
}

// pair makes a pipe, holds its other end, and returns ours.
func (p *pipes) pair(name string, ours int) (*os.File, error) {
	if err := p.make(name); err != nil {
		return nil, err
	}
	reader, err := p.open(name, os.O_RDONLY) // first, or there is nothing to open for writing
	if err != nil {
		return nil, err
	}
	writer, err := p.open(name, os.O_WRONLY)
	if err != nil {
		reader.Close()
		return nil, err
	}
	if ours == os.O_WRONLY {
		p.holders = append(p.holders, reader)
		return writer, nil
	}
	p.holders = append(p.holders, writer)
	return reader, nil
}

// make makes a pipe that every account can open which finds it.
func (p *pipes) make(name string) error {
	if err := unix.Mkfifo(p.host(name), 0o600); err != nil {
		return err
	}
	return os.Chmod(p.host(name), 0o666) // whatever the umask
}

// open opens an end without waiting for the other one.
func (p *pipes) open(name string, flag int) (*os.File, error) {
	return os.OpenFile(p.host(name), flag|unix.O_NONBLOCK, 0)
}

// release lets go of the names and the other ends, once the process has opened the pipes, or never will.
func (p *pipes) release() {
	for _, f := range p.holders {
		f.Close()
	}
	p.holders = nil
	p.ctl.Close()
	p.remove()
}

func (p *pipes) remove() {
	for _, name := range []string{"ctl", "in", "out", "err"} {
		_ = os.Remove(p.host(name)) // not all of them exist; what else is wrong, the next Backend clears
	}
}

// close closes our ends.
func (p *pipes) close() {
	for _, f := range append([]*os.File{p.ctl, p.stdin, p.out[stdout], p.out[stderr]}, p.holders...) {
		if f != nil {
			f.Close()
		}
	}
}
