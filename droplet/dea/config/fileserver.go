package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/logging"
)

// A FileServer is what a directory server in a process of its own takes from the file of its DEA. The other keys are the
// business of the DEA, and are not looked at. All but the two ports are optional.
type FileServer struct {
	// Index of the job; default 0.
	Index int `yaml:"index" validate:"gte=0,lte=2147483647"`

	DirectoryServer FileServerSettings `yaml:"directory_server"`

	// Logging of the DEA. Its level counts where directory_server.logging is absent; its outputs are those of the DEA alone.
	Logging struct {
		Level string `yaml:"level" validate:"omitempty,level"`
	} `yaml:"logging"`

	// Status has user and password of the endpoint at Deakit.DirectoryStatusPort.
	Status struct {
		User     string `yaml:"user"`
		Password Secret `yaml:"password"`
		Port     uint16 `yaml:"port"` // of the DEA's own endpoint
	} `yaml:"status"`

	Deakit struct {
		Host                string `yaml:"host" validate:"omitempty,ip"`
		LogFormat           string `yaml:"log_format" validate:"oneof=steno json text"`
		SyslogAddress       URL    `yaml:"syslog_address" validate:"omitempty,syslog"`
		DirectoryStatusPort uint16 `yaml:"directory_status_port"`

		DirectoryCache time.Duration `yaml:"directory_cache" accept:"fraction" validate:"gte=0,lte=1s" must:"a number of seconds from 0 to 1"`

		FileURLs struct {
			Lifetime time.Duration `yaml:"lifetime" validate:"gte=0,lte=8760h"`
		} `yaml:"file_urls"`
	} `yaml:"deakit"` // as in Deakit
}

// FileServerSettings are DirectoryServer without what the DEA alone needs.
type FileServerSettings struct {
	Protocol         string        `yaml:"protocol" accept:"scalar"` // of signed URLs, which the DEA makes
	V2Port           uint16        `yaml:"v2_port" validate:"gte=1" must:"a port number from 1 to 65535"`
	FileAPIPort      uint16        `yaml:"file_api_port" validate:"gte=1" must:"a port number from 1 to 65535"`
	StreamingTimeout time.Duration `yaml:"streaming_timeout" validate:"gte=0,lte=8760h"`

	// Logging of the directory server. Nil: level as the DEA's, or else info, to standard output.
	Logging *Logging `yaml:"logging"`
}

// LoadFileServer reads the file at path for a directory server as [Load] does for a DEA: what is wrong with keys that it
// does not need is no error. The warnings are about keys that it takes or may have been meant to take; they come with an
// *InvalidError, too.
func LoadFileServer(path string) (*FileServer, []Warning, error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	return parseFileServer(path, data)
}

// ParseFileServer checks the content of a file, at most MaxBytes, like LoadFileServer.
func ParseFileServer(data []byte) (*FileServer, []Warning, error) { return parseFileServer("", data) }

func parseFileServer(file string, data []byte) (*FileServer, []Warning, error) {
	cfg := FileServer{}
	cfg.DirectoryServer.StreamingTimeout = Default().DirectoryServer.StreamingTimeout
	cfg.Deakit.LogFormat = Default().Deakit.LogFormat
	d, err := decode(file, data, &cfg)
	if err != nil {
		return nil, nil, err
	}
	d.warnings = slices.DeleteFunc(d.warnings, func(w Warning) bool { return !concernsFileServer(w.Key) })
	d.settleLifetime(cfg.Deakit.FileURLs.Lifetime)
	d.checkFields(&cfg)
	d.checkPorts(
		server{"directory_server.v2_port", cfg.DirectoryServer.V2Port}, server{"directory_server.file_api_port", cfg.DirectoryServer.FileAPIPort},
		server{"status.port", cfg.Status.Port}, server{"deakit.directory_status_port", cfg.Deakit.DirectoryStatusPort},
	)
	if port := "deakit.directory_status_port"; cfg.Deakit.DirectoryStatusPort != 0 && (cfg.Status.User == "" || cfg.Status.Password == "") {
		d.fail(port, d.line(port), "needs status.user and status.password, without which nobody gets in")
	}
	if err := d.verdict(); err != nil {
		return nil, d.warnings, err
	}
	return &cfg, d.warnings, nil
}

// concernsFileServer reports whether a warning about a key is the business of a directory server, rather than of its DEA: in the blocks
// that it looks into, the DEA has keys of its own.
func concernsFileServer(key string) bool {
	block, _, _ := strings.Cut(key, ".")
	switch block {
	case "", "directory_server":
		return true
	case "deakit", "logging", "status":
		_, taken := fieldAt(reflect.TypeFor[FileServer](), key)
		_, ofDEA := fieldAt(reflect.TypeFor[Config](), key)
		return taken || !ofDEA
	default:
		return false
	}
}

// Log says how the directory server logs.
func (f *FileServer) Log() logging.Config {
	c := logging.Config{Level: f.Logging.Level, Format: f.Deakit.LogFormat, SyslogAddress: string(f.Deakit.SyslogAddress)}
	if own := f.DirectoryServer.Logging; own != nil {
		c.Level, c.File, c.Syslog = own.Level, own.File, own.Syslog
	}
	return c
}
