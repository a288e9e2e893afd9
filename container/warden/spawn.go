package warden

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

const shell = "/bin/bash"

// The search path of jobs (Warden).
const (
	userPath = "/bin:/usr/bin"
	rootPath = "/sbin:/bin:/usr/sbin:/usr/bin"
)

// launch is what Spawn and Run ask for.
type launch interface {
	GetScript() string
	GetPrivileged() bool
	GetRlimits() *protocol.ResourceLimits
	GetDiscardOutput() bool
	GetLogTag() string
}

// start starts a job: a shell that reads the script.
func (g *guest) start(r launch) (*job, error) {
	rlimits, rest := g.s.rlimits(r.GetRlimits())
	spec := container.ProcessSpec{
		Path: shell, Env: []string{"PATH=" + userPath}, User: container.AppUser, Rlimits: rlimits,
	}
	if r.GetPrivileged() {
		spec.User = "root"
		spec.Env = []string{"PATH=" + rootPath}
	}
	if rest != "" {
		spec.Args = []string{"-c", rest + "exec " + shell}
	}
	j := g.newJob(r.GetDiscardOutput(), r.GetLogTag())
	pio := j.streams()
	pio.Stdin = strings.NewReader(r.GetScript())
	p, err := g.c.Run(g.s.ctx, spec, pio)
	if err != nil {
		return nil, err
	}
	g.enter(j, p)
	return j, nil
}

func (c *session) spawn(g *guest, r *protocol.SpawnRequest) (*protocol.SpawnResponse, error) {
	j, err := g.start(r)
	if err != nil {
		return nil, err
	}
	return &protocol.SpawnResponse{JobId: proto.Uint32(j.id)}, nil
}

func (c *session) runScript(ctx context.Context, g *guest, r *protocol.RunRequest) (*protocol.RunResponse, error) {
	j, err := g.start(r)
	if err != nil {
		return nil, err
	}
	defer j.abandon()
	if err := awaitJob(ctx, j); err != nil {
		return nil, err
	}
	out, errs := j.out.all()
	return &protocol.RunResponse{
		ExitStatus: &j.status, Stdout: proto.String(string(out)), Stderr: proto.String(string(errs)),
		Info: g.epilogue(c.s.ctx),
	}, nil
}

func (c *session) link(ctx context.Context, g *guest, r *protocol.LinkRequest) (*protocol.LinkResponse, error) {
	j, err := g.job(r.GetJobId())
	if err != nil {
		return nil, err
	}
	if err := awaitJob(ctx, j); err != nil {
		return nil, err
	}
	out, errs := j.out.all()
	response := &protocol.LinkResponse{
		ExitStatus: &j.status, Stdout: proto.String(string(out)), Stderr: proto.String(string(errs)),
		Info: g.epilogue(c.s.ctx),
	}
	// Sent here, as who did not get it must find the job again.
	if err := c.send(response); err != nil {
		return nil, errors.Join(errGone, err)
	}
	g.forget(j)
	return nil, errSent
}

func (c *session) stream(ctx context.Context, g *guest, r *protocol.StreamRequest) (*protocol.StreamResponse, error) {
	j, err := g.job(r.GetJobId())
	if err != nil {
		return nil, err
	}
	// A client that reads no more must not keep the server from ending.
	defer context.AfterFunc(ctx, func() { _ = c.conn.Close() })()
	err = j.out.follow(ctx, func(which int, data []byte) error {
		return c.send(&protocol.StreamResponse{Name: proto.String(streamNames[which]), Data: proto.String(string(data))})
	})
	if err == nil {
		err = awaitJob(ctx, j)
	}
	if err == nil {
		err = c.send(&protocol.StreamResponse{ExitStatus: &j.status, Info: g.epilogue(c.s.ctx)})
	}
	if err != nil {
		return nil, errors.Join(errGone, err)
	}
	g.forget(j)
	return nil, errSent
}
