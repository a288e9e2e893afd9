package warden

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// handleCounter draws handles as the original does: microseconds in base 32, so that they differ from those that an
// earlier server drew too.
type handleCounter struct {
	mu   sync.Mutex
	last int64
}

func (h *handleCounter) next(now time.Time) string {
	const digits, length = "0123456789abcdefghijklmnopqrstuv", 11
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = max(h.last+1, now.UnixMicro())
	handle := make([]byte, length)
	n := h.last
	for i := length - 1; i >= 0; i-- {
		handle[i] = digits[n%32]
		n /= 32
	}
	return string(handle)
}

func (c *session) create(r *protocol.CreateRequest) (*protocol.CreateResponse, error) {
	if r.Handle != nil && r.GetHandle() == "" { // legal for the original, and a trap
		return nil, fmt.Errorf("handle is empty; leave it out to have one drawn: %w", container.ErrInvalid)
	}
	if r.Network != nil {
		return nil, errors.New("Could not acquire network: " + r.GetNetwork())
	}
	spec := container.Spec{Handle: r.GetHandle(), RootFS: r.GetRootfs()}
	if spec.Handle == "" {
		spec.Handle = c.s.handles.next(time.Now())
	}
	if spec.RootFS == "" {
		spec.RootFS = c.s.cfg.RootFS
	}
	if err := checkRootFS(spec.RootFS); err != nil {
		return nil, err
	}
	var err error
	if spec.BindMounts, err = bindMounts(r.GetBindMounts()); err != nil {
		return nil, err
	}
	if !c.s.reserve(spec.Handle) {
		return nil, &answerError{textExists(spec.Handle), container.ErrExists}
	}
	made, err := c.s.make(spec)
	if err != nil {
		c.s.unreserve(spec.Handle)
	}
	if errors.Is(err, container.ErrExists) {
		return nil, &answerError{textExists(spec.Handle), container.ErrExists}
	}
	if err != nil {
		return nil, explain(err)
	}
	graceTime := c.s.cfg.GraceTime
	if r.GraceTime != nil {
		graceTime = time.Duration(r.GetGraceTime()) * time.Second
	}
	g := c.s.newGuest(made, graceTime)
	c.s.admit(g, c)
	g.save()
	return &protocol.CreateResponse{Handle: proto.String(g.handle)}, nil
}

// make makes a container, and leaves none when it fails.
func (s *Server) make(spec container.Spec) (container.Container, error) {
	made, err := s.backend.Create(s.ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := s.allow(made); err != nil {
		return nil, errors.Join(err, made.Destroy(s.ctx))
	}
	return made, nil
}

func checkRootFS(dir string) error {
	if dir == "" {
		return nil
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &answerError{fmt.Sprintf("rootfs %s not found", dir), container.ErrInvalid}
	}
	return nil
}

func bindMounts(list []*protocol.CreateRequest_BindMount) ([]container.BindMount, error) {
	var mounts []container.BindMount
	for _, m := range list {
		mount := container.BindMount{
			Src: m.GetSrcPath(), Dst: m.GetDstPath(), Writable: m.GetMode() == protocol.CreateRequest_BindMount_RW,
		}
		if !path.IsAbs(mount.Src) || !path.IsAbs(mount.Dst) || strings.ContainsRune(mount.Src+mount.Dst, 0) {
			return nil, fmt.Errorf("bind mount of %q at %q: both paths must be absolute: %w", mount.Src, mount.Dst, container.ErrInvalid)
		}
		if _, err := os.Stat(mount.Src); errors.Is(err, fs.ErrNotExist) {
			return nil, &answerError{textNoSource + mount.Src, container.ErrInvalid}
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}
