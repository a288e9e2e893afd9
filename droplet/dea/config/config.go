package config

import (
	"time"
)

// Config of a DEA, one field for each key of the file. "Required" means that Parse refuses a file without the key; for all
// else Default has the value. Seconds in the file are durations here.
type Config struct {
	// BaseDir is the parent of db, droplets, instances, tmp, staging and crashes. Required.
	BaseDir string `yaml:"base_dir" validate:"required"`

	Logging Logging `yaml:"logging"`

	// NATSServers are tried in any order. Required. Files from before November 2013 give one as nats_uri.
	NATSServers []URL `yaml:"nats_servers" validate:"min=1,dive,nats"`

	// PIDFilename is where the process id is written. Its directory is not made. Required.
	PIDFilename string `yaml:"pid_filename" validate:"required"`

	// WardenSocket is the unix socket of the container server. dea_ng demands it; here it matters to that back end only.
	WardenSocket string `yaml:"warden_socket"`

	// Index of the job, from 0. Required.
	Index int `yaml:"index" validate:"gte=0,lte=2147483647"`

	// Domain is what the host name of the directory server ends in: <32 hex digits>.<Domain>.
	Domain string `yaml:"domain" accept:"scalar" validate:"omitempty,host"`

	DirectoryServer DirectoryServer `yaml:"directory_server"`

	// Stacks that can be run here. Required, at least one.
	Stacks []Stack `yaml:"stacks" validate:"min=1,unique=Name,dive"`

	PlacementProperties PlacementProperties `yaml:"placement_properties"`

	// CCURL is the internal API of the Cloud Controller, with user and password (2015 on; dea_ng demands it then).
	CCURL URL `yaml:"cc_url" validate:"omitempty,http"`

	HM9000 *HM9000 `yaml:"hm9000"` // nil: no heartbeats over HTTP
	SSL    *SSL    `yaml:"ssl"`    // nil: no HTTPS server

	// ServiceName is the host in the URL that is advertised for the HTTPS server.
	ServiceName string `yaml:"service_name" accept:"scalar" validate:"omitempty,host"`

	// CrashLifetime is how long a crashed instance's files are kept; default 3600 s. They go earlier when the disk is
	// fuller than one of the thresholds, fractions of its blocks and inodes; default 0.8 each.
	CrashLifetime       time.Duration `yaml:"crash_lifetime_secs" validate:"gt=0,lte=87600h"`
	CrashBlockThreshold float64       `yaml:"crash_block_usage_ratio_threshold" validate:"gt=0,lte=1"`
	CrashInodeThreshold float64       `yaml:"crash_inode_usage_ratio_threshold" validate:"gt=0,lte=1"`

	// EvacuationBailOut ends an evacuation although instances are left; default 600 s.
	EvacuationBailOut time.Duration `yaml:"evacuation_bail_out_time_in_seconds" validate:"gt=0,lte=87600h"`

	// HealthCheckTimeout applies when the start message has none; default 60 s.
	HealthCheckTimeout time.Duration `yaml:"default_health_check_timeout" validate:"gt=0,lte=8760h"`

	Status    Status    `yaml:"status"`
	Intervals Intervals `yaml:"intervals"`
	Resources Resources `yaml:"resources"`

	// BindMounts are shown in the containers of apps and of staging tasks.
	BindMounts []BindMount `yaml:"bind_mounts" validate:"dive"`

	Hooks Hooks `yaml:"hooks"`

	// PostSetupHook is shell text that ran in each container after its set-up (2016).
	PostSetupHook string `yaml:"post_setup_hook"`

	Instance Instance `yaml:"instance"`
	Staging  Staging  `yaml:"staging"`

	// DEARuby is the interpreter with which dea_ng ran its buildpack plugins. Nothing here needs one.
	DEARuby string `yaml:"dea_ruby" accept:"scalar"`

	Loggregator *Loggregator `yaml:"loggregator"` // nil: nothing is sent there

	Deakit Deakit `yaml:"deakit"`
}

// Logging says what is logged and where. With neither File nor Syslog it goes to standard output, with both to both.
type Logging struct {
	// Level is one of off, fatal, error, warn, info, debug, debug1, debug2, all. Required.
	Level  string `yaml:"level" validate:"level"`
	File   string `yaml:"file"`   // path
	Syslog string `yaml:"syslog"` // name in the system log
}

// DirectoryServer serves files of instances. All but the last two are required.
type DirectoryServer struct {
	Protocol    string `yaml:"protocol" validate:"oneof=http https"`                                // in signed URLs
	V2Port      uint16 `yaml:"v2_port" validate:"gte=1" must:"a port number from 1 to 65535"`       // of the server, as the router gets to know it
	FileAPIPort uint16 `yaml:"file_api_port" validate:"gte=1" must:"a port number from 1 to 65535"` // of the DEA's look-up, on localhost

	// StreamingTimeout ends a tail that is silent for so long; default 60 s, which 0 means as well.
	StreamingTimeout time.Duration `yaml:"streaming_timeout" validate:"gte=0,lte=8760h"`

	// Logging of the server where it is a process of its own; see FileServer. The DEA does not use it.
	Logging *Logging `yaml:"logging"`
}

// A Stack is a root file system that apps ask for by name. In files of 2014 it is the name alone.
type Stack struct {
	Name        string `yaml:"name" validate:"required"`
	PackagePath string `yaml:"package_path"` // directory of the root file system; empty: the back end's default
}

// PlacementProperties tell schedulers where the DEA stands.
type PlacementProperties struct {
	Zone string `yaml:"zone" validate:"required"` // default "default"
}

// HM9000 is the health manager that gets heartbeats over HTTPS (2016). All are required; the files must exist.
type HM9000 struct {
	ListenerURI URL    `yaml:"listener_uri" validate:"http"`
	KeyFile     string `yaml:"key_file" validate:"required"`
	CertFile    string `yaml:"cert_file" validate:"required"`
	CAFile      string `yaml:"ca_file" validate:"required"`
}

// SSL is the HTTPS server for start and staging messages (2016). The first three are required; the files must exist.
type SSL struct {
	Port     uint16 `yaml:"port" validate:"gte=1" must:"a port number from 1 to 65535"`
	KeyFile  string `yaml:"key_file" validate:"required"`
	CertFile string `yaml:"cert_file" validate:"required"`

	// CAFile has the certificates by which those of clients are checked. Empty: any client may call. Only deakit has it.
	CAFile string `yaml:"ca_file"`
}

// Status is the endpoint for figures.
type Status struct {
	User     string `yaml:"user"`     // empty: drawn at random
	Password Secret `yaml:"password"` // empty: drawn at random
	Port     uint16 `yaml:"port"`     // 0: any free one
}

// Intervals between messages.
type Intervals struct {
	Heartbeat      time.Duration `yaml:"heartbeat" validate:"gt=0,lte=8760h"`                                    // default 10 s
	Advertise      time.Duration `yaml:"advertise" validate:"gt=0,lte=8760h"`                                    // default 5 s
	RouterRegister time.Duration `yaml:"router_register_in_seconds" accept:"fraction" validate:"gt=0,lte=8760h"` // default 20 s
}

// Resources that the machine has to give; see Config.Capacity.
type Resources struct {
	MemoryMB int64 `yaml:"memory_mb" validate:"gte=1,lte=8796093022207"` // default 8192
	DiskMB   int64 `yaml:"disk_mb" validate:"gte=1,lte=8796093022207"`   // default 16777216: 16 TiB

	// Factors above 1 promise more than there is; default 1.
	MemoryOvercommitFactor float64 `yaml:"memory_overcommit_factor" validate:"gt=0"`
	DiskOvercommitFactor   float64 `yaml:"disk_overcommit_factor" validate:"gt=0"`
}

// A BindMount shows a path of the host in containers.
type BindMount struct {
	SrcPath string `yaml:"src_path" validate:"required,absolute"`  // on the host
	DstPath string `yaml:"dst_path" validate:"omitempty,absolute"` // in the container; empty: SrcPath
	Mode    string `yaml:"mode" validate:"omitempty,oneof=ro rw"`  // empty: ro
}

// Hooks are paths of scripts on the host; empty: none.
type Hooks struct {
	BeforeStart string `yaml:"before_start"`
	AfterStart  string `yaml:"after_start"`
	BeforeStop  string `yaml:"before_stop"`
	AfterStop   string `yaml:"after_stop"`
}

// Instance says what a running instance gets; see Config.CPUShares.
type Instance struct {
	// CPU shares are the memory in MB divided by the ratio, not below the least nor above the most; default 8, 1, 256.
	// The ratio is called cpu_share_factor in files of 2014.
	MemoryToCPUShareRatio int64 `yaml:"memory_to_cpu_share_ratio" validate:"gte=1"`
	MinCPUShareLimit      int64 `yaml:"min_cpu_share_limit" validate:"gte=1"`
	MaxCPUShareLimit      int64 `yaml:"max_cpu_share_limit" validate:"gte=1"`

	// CPULimitShares gives every instance the same shares instead (December 2013 to February 2014). 0: it does not apply,
	// also where the file has it besides the ratio.
	CPULimitShares int64 `yaml:"cpu_limit_shares" validate:"omitempty,gte=1"`

	DiskInodeLimit int64      `yaml:"disk_inode_limit" validate:"gte=1"` // default 200000
	NProcLimit     uint64     `yaml:"nproc_limit" validate:"gte=1"`      // default 512
	BandwidthLimit *Bandwidth `yaml:"bandwidth_limit"`                   // nil: no limit
}

// Bandwidth of the network, in each direction. Both are required.
type Bandwidth struct {
	Rate  int64 `yaml:"rate" validate:"gte=1"`  // bytes per second
	Burst int64 `yaml:"burst" validate:"gte=1"` // bytes
}

// Staging says whether and how apps are staged.
type Staging struct {
	Enabled            bool              `yaml:"enabled"`                                        // default false
	MaxStagingDuration time.Duration     `yaml:"max_staging_duration" validate:"gt=0,lte=8760h"` // default 900 s
	Environment        map[string]Secret `yaml:"environment" accept:"scalar" validate:"dive,keys,variable,endkeys"`

	MemoryLimitMB  int64      `yaml:"memory_limit_mb" validate:"gte=1,lte=8796093022207"` // default 1024, the least of a task
	DiskLimitMB    int64      `yaml:"disk_limit_mb" validate:"gte=1,lte=8796093022207"`   // default 2048, the least of a task
	DiskInodeLimit int64      `yaml:"disk_inode_limit" validate:"gte=1"`                  // default 200000
	CPULimitShares int64      `yaml:"cpu_limit_shares" validate:"gte=1"`                  // default 512
	BandwidthLimit *Bandwidth `yaml:"bandwidth_limit"`                                    // nil: no limit
}

// Loggregator gets the lines about instances.
type Loggregator struct {
	Router       string `yaml:"router" accept:"scalar" validate:"omitempty,hostport"` // host:port, UDP
	SharedSecret Secret `yaml:"shared_secret" accept:"scalar"`                        // early 2014 only
}
