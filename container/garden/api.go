package garden

import "time"

// The JSON of Garden's API (code.cloudfoundry.org/garden, July 2026), as far as it is used here.

type containerSpec struct {
	Handle     string            `json:"handle,omitempty"`
	GraceTime  time.Duration     `json:"grace_time,omitempty"` // nanoseconds
	Image      imageRef          `json:"image"`
	BindMounts []bindMount       `json:"bind_mounts,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	Env        []string          `json:"env,omitempty"`
	Privileged bool              `json:"privileged,omitempty"`
	Limits     limits            `json:"limits"`
}

type imageRef struct {
	URI string `json:"uri,omitempty"`
}

type bindMount struct {
	SrcPath string `json:"src_path,omitempty"`
	DstPath string `json:"dst_path,omitempty"`
	Mode    int    `json:"mode,omitempty"` // 0 read-only, 1 read-write
}

type limits struct {
	Bandwidth bandwidthLimits `json:"bandwidth_limits"`
	CPU       cpuLimits       `json:"cpu_limits"`
	Disk      diskLimits      `json:"disk_limits"`
	Memory    memoryLimits    `json:"memory_limits"`
	Pid       pidLimits       `json:"pid_limits"`
}

type bandwidthLimits struct {
	Rate  uint64 `json:"rate,omitempty"`
	Burst uint64 `json:"burst,omitempty"`
}

type cpuLimits struct {
	Weight uint64 `json:"weight,omitempty"`
}

// exclusiveScope counts the container's own files, not those of the image.
const exclusiveScope = 1

type diskLimits struct {
	InodeHard uint64 `json:"inode_hard,omitempty"`
	ByteHard  uint64 `json:"byte_hard,omitempty"`
	Scope     int    `json:"scope,omitempty"`
}

type memoryLimits struct {
	Bytes uint64 `json:"limit_in_bytes,omitempty"`
}

type pidLimits struct {
	Max uint64 `json:"max,omitempty"`
}

type containerInfo struct {
	State         string
	Events        []string
	HostIP        string
	ContainerIP   string
	ExternalIP    string
	ContainerPath string
	ProcessIDs    []string
	Properties    map[string]string
	MappedPorts   []struct{ HostPort, ContainerPort uint32 }
}

type metrics struct {
	MemoryStat struct {
		TotalUsageTowardLimit uint64
	}
	CPUStat struct {
		Usage uint64 // nanoseconds
	}
	DiskStat struct {
		ExclusiveBytesUsed uint64
	}
	PidStat struct {
		Current uint64
	}
}

type netOutRule struct {
	Protocol int           `json:"protocol,omitempty"`
	Networks []ipRange     `json:"networks,omitempty"`
	Ports    []portRange   `json:"ports,omitempty"`
	ICMPs    *icmpControls `json:"icmps,omitempty"`
	Log      bool          `json:"log,omitempty"`
}

type ipRange struct {
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

type portRange struct {
	Start uint16 `json:"start,omitempty"`
	End   uint16 `json:"end,omitempty"`
}

type icmpControls struct {
	Type uint8  `json:"type,omitempty"`
	Code *uint8 `json:"code,omitempty"`
}

type netIn struct {
	Handle        string `json:"handle,omitempty"`
	HostPort      uint32 `json:"host_port,omitempty"`
	ContainerPort uint32 `json:"container_port,omitempty"`
}

type processSpec struct {
	ID      string         `json:"id,omitempty"`
	Path    string         `json:"path,omitempty"`
	Args    []string       `json:"args,omitempty"`
	Env     []string       `json:"env,omitempty"`
	Dir     string         `json:"dir,omitempty"`
	User    string         `json:"user,omitempty"`
	Rlimits resourceLimits `json:"rlimits"`
	Image   imageRef       `json:"image"`
}

type resourceLimits struct {
	AS     *uint64 `json:"as,omitempty"`
	Core   *uint64 `json:"core,omitempty"`
	CPU    *uint64 `json:"cpu,omitempty"`
	FSize  *uint64 `json:"fsize,omitempty"`
	NoFile *uint64 `json:"nofile,omitempty"`
	NProc  *uint64 `json:"nproc,omitempty"`
	Stack  *uint64 `json:"stack,omitempty"`
}

// A payload is a line in either direction of a process stream.
type payload struct {
	ProcessID  string  `json:"process_id,omitempty"`
	StreamID   string  `json:"stream_id,omitempty"`
	Source     *int    `json:"source,omitempty"` // 0 is standard input
	Data       *string `json:"data,omitempty"`
	ExitStatus *int    `json:"exit_status,omitempty"`
	Error      *string `json:"error,omitempty"`
	Signal     *int    `json:"signal,omitempty"`
}

// The signals that a payload can carry.
const (
	signalTerminate = 0
	signalKill      = 1
)

type errorBody struct {
	Type    string
	Message string
	Handle  string
}
