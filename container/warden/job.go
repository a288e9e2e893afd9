package warden

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"syscall"

	"github.com/deakit/deakit/container"
)

// statusUnknown is the exit status when nobody knows it, or there was too much output.
const statusUnknown = 255

// A job is a process that a client started.
type job struct {
	g       *guest
	id      uint32 // unique for the server
	process uint32 // for the container
	discard bool
	tag     string
	out     *output
	tagged  []*lineWriter

	done   chan struct{}
	status uint32 // valid after done is closed

	abandoned bool // nobody will ask for it; guarded by guest.mu
}

func (g *guest) newJob(discard bool, tag string) *job {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.s.lastJob++
	return &job{g: g, id: g.s.lastJob, discard: discard, tag: tag, out: newOutput(g.s.cfg.JobOutputLimit), done: make(chan struct{})}
}

// streams are where the process writes to. With nil it can go on without this server.
func (j *job) streams() container.IO {
	var writers [2]io.Writer
	for which := range writers {
		var list []io.Writer
		if !j.discard {
			list = append(list, stream{j.out, which})
		}
		if tagged := j.g.s.tags.writer(j.tag, which); tagged != nil {
			j.tagged = append(j.tagged, tagged)
			list = append(list, tagged)
		}
		switch len(list) {
		case 1:
			writers[which] = list[0]
		case 2:
			writers[which] = both{list[0], list[1]}
		}
	}
	return container.IO{Stdout: writers[stdout], Stderr: writers[stderr]}
}

// both writes to two writers, whatever happens to one of them.
type both struct{ a, b io.Writer }

func (w both) Write(p []byte) (int, error) {
	_, errA := w.a.Write(p)
	_, errB := w.b.Write(p)
	if errA != nil && errB != nil {
		return 0, errA
	}
	return len(p), nil
}

// enter makes a started job known, and follows it.
func (g *guest) enter(j *job, p container.Process) {
	j.process = p.ID()
	g.mu.Lock()
	g.jobs[j.id] = j
	g.mu.Unlock()
	g.s.jobs.Go(func() { j.follow(p) })
	g.save()
}

// follow waits for the end of the process. When the server ends before, the job has not.
func (j *job) follow(p container.Process) {
	ctx := j.g.s.ctx
	status, err := j.await(ctx, p)
	if ctx.Err() != nil && err != nil {
		return
	}
	switch {
	case j.out.exceeded():
		status = statusUnknown
	case err != nil:
		j.g.s.log.Warn("warden.job.status-lost", "handle", j.g.handle, "job", j.id, "error", err)
		status = statusUnknown
	}
	j.finish(uint32(status))
}

// await waits for the end of the process, and brings it about when there is too much output.
func (j *job) await(ctx context.Context, p container.Process) (container.ExitStatus, error) {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-j.out.full:
			cancel()
		case <-ended:
		}
	}()
	status, err := p.Wait(bounded)
	close(ended)
	<-watched
	if !j.out.exceeded() {
		return status, err
	}
	j.g.addEvent(textOutputLimit)
	if err := p.Signal(ctx, syscall.SIGKILL); err != nil {
		j.g.s.log.Warn("warden.job.cannot-be-killed", "handle", j.g.handle, "job", j.id, "error", err)
	}
	return p.Wait(ctx)
}

func (j *job) finish(status uint32) {
	for _, w := range j.tagged {
		w.flush()
	}
	j.status = status
	j.out.end()
	j.g.mu.Lock()
	close(j.done)
	if j.abandoned {
		delete(j.g.jobs, j.id)
	}
	j.g.mu.Unlock()
	j.g.save()
}

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// abandon has the job forgotten when it ends, as nobody knows its id.
func (j *job) abandon() {
	j.g.mu.Lock()
	j.abandoned = true
	ended := j.ended()
	j.g.mu.Unlock()
	if ended {
		j.g.forget(j)
	}
}

// forget forgets a job that has ended.
func (g *guest) forget(j *job) {
	g.mu.Lock()
	delete(g.jobs, j.id)
	g.mu.Unlock()
	g.save()
}

var errNoSuchJob = &answerError{textNoSuchJob, container.ErrNotFound}

func (g *guest) job(id uint32) (*job, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if j, ok := g.jobs[id]; ok {
		return j, nil
	}
	return nil, errNoSuchJob
}

func (g *guest) allJobs() []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.jobs))
}

// awaitJob waits for the end of a job, or for a reason not to answer.
func awaitJob(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		return errors.Join(errGone, ctx.Err())
	}
}
