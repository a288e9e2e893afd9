package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/deakit/deakit/internal/program"
)

// Config is the configuration file of the agent, agent.json. Its keys are known in any case of letters, except "Type".
type Config struct {
	Platform struct {
		Linux Linux
	}
	Infrastructure struct {
		Settings struct {
			Sources []SourceConfig
		}
	}
}

// Linux says what to do with the machine. It is all read; which of it has an effect is up to who takes it, see package node.
type Linux struct {
	UseDefaultTmpDir                    bool   // do not mount data/root_tmp over /tmp and /var/tmp
	UsePreformattedPersistentDisk       bool   // mount the device itself, never partition or format it
	BindMountPersistentDisk             bool   // in containers
	CreatePartitionIfNoEphemeralDisk    bool   // carve swap and data out of the root device
	SkipDiskSetup                       bool   // neither root nor ephemeral partitions
	DevicePathResolutionType            string // virtio, scsi, iscsi; empty takes paths as they are
	PartitionerType                     string // parted; empty to choose by size
	ServiceManager                      string // systemd; empty for runit
	DiskIDTransformPattern              string // regular expression, of ids of disks (virtio)
	DiskIDTransformReplacement          string
	LunDeviceSymlinkPath                string // where <lun> is a link to its device
	InstanceStorageManagedVolumePattern string
	InstanceStorageDevicePattern        string
	UseMonitIptablesFirewall            bool
}

// SourceConfig is one source of settings. Type says which of the other keys count.
type SourceConfig struct {
	Type string // HTTP, InstanceMetadata, ConfigDrive, File, CDROM, VsphereGuestInfo

	URI            string            // HTTP, InstanceMetadata
	Headers        map[string]string // HTTP, InstanceMetadata
	UserDataPath   string            // HTTP, ConfigDrive
	InstanceIDPath string            // HTTP
	SSHKeysPath    string            // HTTP
	TokenPath      string            // HTTP
	SettingsPath   string            // InstanceMetadata, File
	DiskPaths      []string          // ConfigDrive
	MetaDataPath   string            // ConfigDrive
	FileName       string            // CDROM
	RPCToolPath    string            `json:"RpcToolPath"`  // VsphereGuestInfo
	VMToolsdPath   string            `json:"VmToolsdPath"` // VsphereGuestInfo

	// Of before 2022, beside the sources: registries know machines by the server name of the user data.
	UseServerName bool `json:"-"`
}

// UnmarshalJSON reads a source. "Type" must be spelled so.
func (s *SourceConfig) UnmarshalJSON(data []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return err
	}
	type plain SourceConfig
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	p.Type = ""
	if given, ok := keys["Type"]; ok {
		if err := json.Unmarshal(given, &p.Type); err != nil {
			return err
		}
	}
	if p.Type == "" {
		return errors.New("Missing source type") //nolint:staticcheck // text of the original
	}
	*s = SourceConfig(p)
	return nil
}

// ParseConfig reads agent.json.
func ParseConfig(data []byte) (*Config, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("agent configuration of %d bytes: at most %d are read", len(data), maxDocument)
	}
	c := &Config{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("agent configuration: %w", err)
	}
	var old struct {
		Infrastructure struct{ Settings struct{ UseServerName bool } }
	}
	_ = json.Unmarshal(data, &old) // a value of another type means nothing: the key is not read any more
	for i := range c.Infrastructure.Settings.Sources {
		c.Infrastructure.Settings.Sources[i].UseServerName = old.Infrastructure.Settings.UseServerName
	}
	return c, nil
}

// Tools are what sources work with.
type Tools struct {
	Mounter Mounter        // of ConfigDrive and CDROM
	Run     program.Runner // default: the programs of the machine
	Client  *http.Client   // of HTTP, InstanceMetadata and registries; default as in [Retry]
	Tries   int            // of requests; default 10
	Delay   time.Duration  // between them; default 1 s; negative for none
	Logger  *slog.Logger   // nil discards
}

// NewSource makes the source that agent.json describes.
func NewSource(c *Config, tools Tools) (*Multi, error) {
	var sources []Source
	for _, s := range c.Infrastructure.Settings.Sources {
		source, err := s.source(tools)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return NewMulti(sources...)
}

func (s SourceConfig) source(t Tools) (Source, error) {
	retry := Retry{Tries: t.Tries, Delay: t.Delay, Client: t.Client, Logger: t.Logger}
	switch s.Type {
	case "HTTP":
		return HTTP{URI: s.URI, Headers: s.Headers, UserDataPath: s.UserDataPath, InstanceIDPath: s.InstanceIDPath,
			SSHKeysPath: s.SSHKeysPath, TokenPath: s.TokenPath, UseServerName: s.UseServerName, Retry: retry}, nil
	case "InstanceMetadata":
		return InstanceMetadata{s.URI, s.Headers, s.SettingsPath, retry}, nil
	case "ConfigDrive":
		return ConfigDrive{s.DiskPaths, s.MetaDataPath, s.UserDataPath, t.Mounter}, needMounter(s.Type, t)
	case "File":
		return File{s.SettingsPath}, nil
	case "CDROM":
		return CDROM{FileName: s.FileName, Mounter: t.Mounter, Run: t.Run, Logger: t.Logger}, needMounter(s.Type, t)
	case "VsphereGuestInfo":
		return VsphereGuestInfo{s.RPCToolPath, s.VMToolsdPath, t.Run}, nil
	case "":
		return nil, errors.New("Missing source type") //nolint:staticcheck // text of the original
	}
	return nil, fmt.Errorf("Unknown source type '%s'", s.Type) //nolint:staticcheck // text of the original
}

func needMounter(kind string, t Tools) error {
	if t.Mounter == nil {
		return fmt.Errorf("settings: a source of type %s needs a Mounter", kind)
	}
	return nil
}
