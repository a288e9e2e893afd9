package warden

import (
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

const (
	// noMemoryLimit is what cgroup v1 reads back where memory is not limited.
	noMemoryLimit = math.MaxInt64 &^ (pageBytes - 1)
	pageBytes     = 4096
	// noBandwidth stands for unlimited, as far as 32 bits go.
	noBandwidth = math.MaxUint32
)

// A snapshot is what is known of a container at a time.
type snapshot struct {
	info  container.Info
	usage container.Usage
	jobs  []uint64
	extra []string // events of jobs
}

// snapshot describes the container and measures it.
func (g *guest) snapshot(ctx context.Context) (snapshot, error) {
	s, err := g.glance(ctx)
	if err != nil {
		return s, err
	}
	if s.usage, err = g.c.Usage(ctx); err != nil && !errors.Is(err, container.ErrNotFound) {
		err = fmt.Errorf("Failed getting memory usage: %w", err)
	}
	return s, err
}

// glance describes the container.
func (g *guest) glance(ctx context.Context) (s snapshot, err error) {
	if s.info, err = g.c.Info(ctx); err != nil {
		return s, err
	}
	s.jobs = g.runningJobs()
	g.mu.Lock()
	defer g.mu.Unlock()
	s.extra = append(s.extra, g.events...)
	return s, nil
}

func (c *session) info(g *guest, r *protocol.InfoRequest) (*protocol.InfoResponse, error) {
	look := g.snapshot
	if r.GetUnmeasured() {
		look = g.glance
	}
	s, err := look(c.s.ctx)
	if err != nil {
		return nil, err
	}
	response := s.response()
	if r.GetUnmeasured() {
		response.MemoryStat, response.CpuStat, response.DiskStat = nil, nil, nil
	} else if r.GetCountProcesses() {
		response.Processes = proto.Uint32(uint32(s.usage.Processes))
	}
	return response, nil
}

// epilogue describes the container for the answer about a job that has ended, also when it is destroyed by now.
func (g *guest) epilogue(ctx context.Context) *protocol.InfoResponse {
	s, err := g.snapshot(ctx)
	if err == nil {
		return s.response()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.obituary.info.State == "" {
		return nil // nothing is known
	}
	last := g.obituary
	last.info.State = container.StateStopped
	last.jobs = nil
	last.extra = g.events
	return last.response()
}

// response translates. Memory is counted so that what the DEA computes, total_rss + total_cache - total_inactive_file, is
// the usage.
func (s snapshot) response() *protocol.InfoResponse {
	memory := uint64(s.usage.MemoryBytes)
	limit := uint64(noMemoryLimit)
	if s.info.Limits.MemoryBytes > 0 {
		limit = uint64(s.info.Limits.MemoryBytes)
	}
	bandwidth := &protocol.InfoResponse_BandwidthStat{
		InRate: proto.Uint64(noBandwidth), InBurst: proto.Uint64(noBandwidth),
		OutRate: proto.Uint64(noBandwidth), OutBurst: proto.Uint64(noBandwidth),
	}
	if b := s.info.Limits.Bandwidth; b != nil {
		rate, burst := uint64(b.BytesPerSecond), uint64(b.BurstBytes)
		bandwidth = &protocol.InfoResponse_BandwidthStat{InRate: &rate, InBurst: &burst, OutRate: &rate, OutBurst: &burst}
	}
	return &protocol.InfoResponse{
		State:         proto.String(string(s.info.State)),
		Events:        append(append([]string(nil), s.info.Events...), s.extra...),
		HostIp:        proto.String(s.info.HostIP),
		ContainerIp:   proto.String(s.info.ContainerIP),
		ContainerPath: proto.String(s.info.Path),
		MemoryStat: &protocol.InfoResponse_MemoryStat{
			Rss: proto.Uint64(memory), TotalRss: proto.Uint64(memory), Cache: proto.Uint64(0), TotalCache: proto.Uint64(0),
			InactiveFile: proto.Uint64(0), TotalInactiveFile: proto.Uint64(0),
			HierarchicalMemoryLimit: &limit, HierarchicalMemswLimit: &limit,
		},
		CpuStat:       &protocol.InfoResponse_CpuStat{Usage: proto.Uint64(uint64(s.usage.CPUTime))},
		DiskStat:      &protocol.InfoResponse_DiskStat{BytesUsed: proto.Uint64(uint64(s.usage.DiskBytes))},
		BandwidthStat: bandwidth,
		JobIds:        s.jobs,
	}
}
