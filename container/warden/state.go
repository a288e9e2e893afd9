package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/atomicfile"
)

// stateSuffix ends the names of state files, one for each container.
const stateSuffix = ".warden.json"

// maxStateFile bounds what is read of one.
const maxStateFile = 16 << 20

// A guestState is what a server remembers of a container for its successor.
type guestState struct {
	GraceTime *float64            `json:"grace_time"` // seconds; null for ever
	Events    []string            `json:"events"`
	Jobs      map[uint32]jobState `json:"jobs"`
}

type jobState struct {
	Process uint32  `json:"process"`
	Discard bool    `json:"discard_output"`
	Tag     string  `json:"log_tag,omitempty"`
	Status  *uint32 `json:"status"` // null while it runs
}

func (s *Server) stateFile(handle string) string {
	return filepath.Join(s.cfg.StateDir, handle+stateSuffix)
}

// save writes the state of a container that is not destroyed.
func (g *guest) save() {
	if g.s.cfg.StateDir == "" {
		return
	}
	g.saving.Lock()
	defer g.saving.Unlock()
	data, err := g.state()
	if err == nil && data != nil {
		err = atomicfile.WriteFile(g.s.stateFile(g.handle), data, 0o600)
	}
	if err != nil {
		g.s.log.Error("warden.state.not-saved", "handle", g.handle, "error", err)
	}
}

func (g *guest) state() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil, nil
	}
	state := guestState{Events: g.events, Jobs: map[uint32]jobState{}}
	if g.graceTime >= 0 {
		seconds := g.graceTime.Seconds()
		state.GraceTime = &seconds
	}
	for id, j := range g.jobs {
		known := jobState{Process: j.process, Discard: j.discard, Tag: j.tag}
		if j.ended() {
			known.Status = &j.status
		}
		state.Jobs[id] = known
	}
	return json.Marshal(state)
}

// bury removes the state of a container that is destroyed.
func (g *guest) bury() {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.Lock()
	g.gone = true
	g.mu.Unlock()
	if g.s.cfg.StateDir == "" {
		return
	}
	if err := os.Remove(g.s.stateFile(g.handle)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.s.log.Error("warden.state.not-removed", "handle", g.handle, "error", err)
	}
}

// adopt makes the containers of the back end known, and their jobs as far as they were remembered.
func (s *Server) adopt(ctx context.Context) error {
	handles, err := s.backend.List(ctx)
	if err != nil {
		return err
	}
	if err := s.sweep(handles); err != nil { // while nobody writes there
		return err
	}
	var found []*guest
	for _, handle := range handles {
		c, err := s.backend.Lookup(ctx, handle)
		if errors.Is(err, container.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		g := s.newGuest(c, s.cfg.GraceTime)
		if err := s.restore(ctx, g); err != nil {
			s.log.Warn("warden.state.unreadable", "handle", handle, "error", err)
		}
		found = append(found, g)
	}
	for _, g := range found {
		if err := s.nameStrays(ctx, g); err != nil && !errors.Is(err, container.ErrNotFound) {
			return err
		}
		s.admit(g, nil)
		g.save()
	}
	return nil
}

// restore reads the state of a container and finds its jobs again.
func (s *Server) restore(ctx context.Context, g *guest) error {
	if s.cfg.StateDir == "" {
		return nil
	}
	state, err := readState(s.stateFile(g.handle))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = state.Events
	g.graceTime = -1
	if state.GraceTime != nil {
		g.graceTime = time.Duration(*state.GraceTime * float64(time.Second))
	}
	for id, known := range state.Jobs {
		s.lastJob = max(s.lastJob, id)
		s.restoreJob(ctx, g, id, known)
	}
	return nil
}

// restoreJob finds a job again. g.mu is held.
func (s *Server) restoreJob(ctx context.Context, g *guest, id uint32, known jobState) {
	j := &job{
		g: g, id: id, process: known.Process, discard: known.Discard, tag: known.Tag,
		out: newOutput(s.cfg.JobOutputLimit), done: make(chan struct{}),
	}
	if known.Status != nil {
		j.status = *known.Status
		j.out.end()
		close(j.done)
		g.jobs[id] = j
		return
	}
	p, err := g.c.Attach(ctx, known.Process, j.streams())
	if err != nil {
		s.log.Warn("warden.job.lost", "handle", g.handle, "job", id, "error", err)
		return
	}
	g.jobs[id] = j
	s.jobs.Go(func() { j.follow(p) })
}

// nameStrays makes jobs of processes of which nothing was written down: the server died before it could, or somebody else
// started them. It is called when all numbers that were given are known.
func (s *Server) nameStrays(ctx context.Context, g *guest) error {
	info, err := g.c.Info(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range g.jobs {
		info.Processes = slices.DeleteFunc(info.Processes, func(id uint32) bool { return id == j.process })
	}
	for _, process := range info.Processes {
		s.lastJob++
		s.restoreJob(ctx, g, s.lastJob, jobState{Process: process, Discard: true})
	}
	return nil
}

func readState(name string) (state guestState, err error) {
	file, err := os.Open(name)
	if err != nil {
		return state, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxStateFile))
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(data, &state); err != nil {
		return state, fmt.Errorf("%s: %w", name, err)
	}
	return state, nil
}

// sweep removes the state of containers that are no more.
func (s *Server) sweep(handles []string) error {
	if s.cfg.StateDir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.cfg.StateDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		handle, ours := strings.CutSuffix(e.Name(), stateSuffix)
		if ours && !slices.Contains(handles, handle) || strings.HasPrefix(e.Name(), atomicfile.TempPrefix) {
			if err := os.Remove(filepath.Join(s.cfg.StateDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
