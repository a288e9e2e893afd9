package warden

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// changeLimits reads the limits of a container, lets change alter them, and writes them back if it says so.
func (g *guest) changeLimits(change func(*container.Limits) (changed bool)) (container.Limits, error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	info, err := g.c.Info(g.s.ctx)
	if err != nil {
		return container.Limits{}, err
	}
	limits := info.Limits
	if !change(&limits) {
		return limits, nil
	}
	return limits, g.c.SetLimits(g.s.ctx, limits)
}

// limitMemory rounds up to pages, as the kernel does: 0 bytes are one page, not no limit.
func (c *session) limitMemory(g *guest, r *protocol.LimitMemoryRequest) (*protocol.LimitMemoryResponse, error) {
	limits, err := g.changeLimits(func(l *container.Limits) bool {
		if r.LimitInBytes == nil {
			return false
		}
		switch bytes := r.GetLimitInBytes(); {
		case bytes >= noMemoryLimit:
			l.MemoryBytes = 0
		default:
			l.MemoryBytes = max(pageBytes, int64((bytes+pageBytes-1)&^(pageBytes-1)))
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("Failed setting memory limit: %w", err)
	}
	effective := uint64(noMemoryLimit)
	if limits.MemoryBytes > 0 {
		effective = uint64(limits.MemoryBytes)
	}
	return &protocol.LimitMemoryResponse{LimitInBytes: &effective}, nil
}

// The bounds of cpu.shares, and what a neighbour without a limit has.
const (
	minShares     = 2
	maxShares     = 1 << 18
	defaultShares = 1024
)

func (c *session) limitCPU(g *guest, r *protocol.LimitCpuRequest) (*protocol.LimitCpuResponse, error) {
	limits, err := g.changeLimits(func(l *container.Limits) bool {
		if r.LimitInShares == nil {
			return false
		}
		l.CPUShares = int64(min(max(r.GetLimitInShares(), minShares), maxShares))
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("Failed setting cpu shares: %w", err)
	}
	if limits.CPUShares == 0 {
		limits.CPUShares = defaultShares
	}
	return &protocol.LimitCpuResponse{LimitInShares: proto.Uint64(uint64(limits.CPUShares))}, nil
}

func (c *session) limitBandwidth(g *guest, r *protocol.LimitBandwidthRequest) (*protocol.LimitBandwidthResponse, error) {
	_, err := g.changeLimits(func(l *container.Limits) bool {
		l.Bandwidth = &container.Bandwidth{BytesPerSecond: toInt64(r.GetRate()), BurstBytes: toInt64(r.GetBurst())}
		if r.GetRate() >= noBandwidth {
			l.Bandwidth = nil
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return &protocol.LimitBandwidthResponse{Rate: r.Rate, Burst: r.Burst}, nil
}

func toInt64(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// blockBytes is the unit of disk quotas, whatever the blocks of the file system are.
const blockBytes = 1024

// lastOf returns the last value that is given.
func lastOf(values ...*uint64) *uint64 {
	var last *uint64
	for _, v := range values {
		if v != nil {
			last = v
		}
	}
	return last
}

// inBlocks rounds bytes up to blocks.
func inBlocks(bytes *uint64) *uint64 {
	if bytes == nil {
		return nil
	}
	blocks := *bytes / blockBytes
	if *bytes%blockBytes > 0 {
		blocks++
	}
	return &blocks
}

// limitDisk changes what is given and keeps the rest. Back ends have hard limits only: soft ones are remembered.
func (c *session) limitDisk(g *guest, r *protocol.LimitDiskRequest) (*protocol.LimitDiskResponse, error) {
	if c.s.cfg.NoDiskQuota {
		return &protocol.LimitDiskResponse{}, nil
	}
	hard := lastOf(inBlocks(r.ByteLimit), inBlocks(r.Byte), inBlocks(r.ByteHard), r.BlockLimit, r.Block, r.BlockHard)
	soft := lastOf(inBlocks(r.ByteSoft), r.BlockSoft)
	inodes := lastOf(r.InodeLimit, r.Inode, r.InodeHard)
	var softBlocks, softInodes uint64
	limits, err := g.changeLimits(func(l *container.Limits) bool {
		if hard != nil {
			l.DiskBytes = int64(min(*hard, math.MaxInt64/blockBytes)) * blockBytes
		}
		if inodes != nil {
			l.DiskInodes = toInt64(*inodes)
		}
		if soft != nil {
			g.softBlocks = min(*soft, math.MaxInt64/blockBytes)
		}
		if r.InodeSoft != nil {
			g.softInodes = r.GetInodeSoft()
		}
		softBlocks, softInodes = g.softBlocks, g.softInodes
		return hard != nil || inodes != nil
	})
	if err != nil {
		return nil, err
	}
	return diskResponse(*inBlocks(proto.Uint64(uint64(limits.DiskBytes))), softBlocks, uint64(limits.DiskInodes), softInodes), nil
}

func diskResponse(hard, soft, inodeHard, inodeSoft uint64) *protocol.LimitDiskResponse {
	hardBytes, softBytes := hard*blockBytes, soft*blockBytes
	return &protocol.LimitDiskResponse{
		BlockLimit: &hard, Block: &hard, BlockHard: &hard, BlockSoft: &soft,
		InodeLimit: &inodeHard, Inode: &inodeHard, InodeHard: &inodeHard, InodeSoft: &inodeSoft,
		ByteLimit: &hardBytes, Byte: &hardBytes, ByteHard: &hardBytes, ByteSoft: &softBytes,
	}
}
