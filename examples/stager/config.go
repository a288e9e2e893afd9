package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/logging"
	"github.com/deakit/deakit/messaging"
)

// sample is what counts where no file is named.
//
//go:embed config/stager.yml
var sample []byte

// config is the original's configuration file. Pointers are keys that must be there.
type config struct {
	Logging *struct {
		Level  *string `yaml:"level"`
		File   string  `yaml:"file"`
		Syslog string  `yaml:"syslog"`
	} `yaml:"logging"`
	NATSURI            *string   `yaml:"nats_uri"`
	MaxStagingDuration *int64    `yaml:"max_staging_duration"` // seconds
	MaxActiveTasks     *int64    `yaml:"max_active_tasks"`
	Queues             *[]string `yaml:"queues"`
	PIDFilename        *string   `yaml:"pid_filename"`
	Secure             *bool     `yaml:"secure"`

	Dirs struct {
		Tmp string `yaml:"tmp"`
	} `yaml:"dirs"`
	Index      int    `yaml:"index"`
	LocalRoute string `yaml:"local_route"`
	Deakit     extras `yaml:"deakit"`

	lines map[string]int // of keys
}

// extras are the keys below deakit.
type extras struct {
	Backend       string   `yaml:"backend"`
	Containers    string   `yaml:"containers"`
	MaxWaiting    int      `yaml:"max_waiting_tasks"`
	MemoryMB      int64    `yaml:"memory_limit_mb"`
	DiskMB        int64    `yaml:"disk_limit_mb"`
	OldRequests   bool     `yaml:"old_requests"`
	Runtimes      string   `yaml:"runtimes"`
	Strict        bool     `yaml:"strict"`
	Original      bool     `yaml:"original"`
	Resources     string   `yaml:"resources"`
	Gems          string   `yaml:"gems"`
	Buildpacks    []string `yaml:"buildpacks"`
	LogFormat     string   `yaml:"log_format"`
	SyslogAddress string   `yaml:"syslog_address"`
}

// A loadError: the file cannot be read. A checkError: what it says does not do. Both have the words of the original.
type (
	loadError struct {
		file string
		err  error
	}
	checkError struct{ err error }
)

func (e *loadError) Error() string {
	return fmt.Sprintf("ERROR: Failed loading config from file '%s': %v", e.file, e.err)
}

func (e *checkError) Error() string {
	return fmt.Sprintf("ERROR: There was a problem validating the supplied config: %v", e.err)
}

// load reads a configuration; without a name, the sample.
func load(name string) (*config, error) {
	data := sample
	if name != "" {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return nil, &loadError{name, err}
		}
	}
	c := &config{}
	var err error
	var wrong *checkError
	switch c.lines, err = decode(data, c, "deakit"); {
	case errors.As(err, &wrong):
		return nil, err
	case err != nil:
		return nil, &loadError{name, err}
	}
	if err := c.check(); err != nil {
		return nil, &checkError{err}
	}
	return c, nil
}

// check finds what is missing or out of range.
func (c *config) check() error {
	var errs []error
	for _, required := range []struct {
		key   string
		there bool
	}{
		{"logging", c.Logging != nil}, {"logging.level", c.Logging != nil && c.Logging.Level != nil}, {"nats_uri", c.NATSURI != nil},
		{"max_staging_duration", c.MaxStagingDuration != nil}, {"max_active_tasks", c.MaxActiveTasks != nil},
		{"queues", c.Queues != nil && len(*c.Queues) > 0}, {"pid_filename", c.PIDFilename != nil && *c.PIDFilename != ""},
		{"secure", c.Secure != nil},
	} {
		if !required.there {
			errs = append(errs, fmt.Errorf("%s is missing", required.key))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	wrong := func(key, text string) { errs = append(errs, fmt.Errorf("line %d: %s %s", c.lines[key], key, text)) }
	if _, err := logging.ParseLevel(*c.Logging.Level); err != nil {
		wrong("logging.level", "is wrong: "+err.Error())
	}
	if err := messaging.CheckServer(*c.NATSURI); err != nil {
		wrong("nats_uri", "cannot be used: "+err.Error())
	}
	if *c.MaxStagingDuration < 1 || *c.MaxStagingDuration > int64(time.Duration(1<<63-1)/time.Second) {
		wrong("max_staging_duration", "must be at least 1, in seconds")
	}
	if *c.MaxActiveTasks < 1 {
		wrong("max_active_tasks", "must be at least 1")
	}
	if c.LocalRoute != "" && net.ParseIP(c.LocalRoute) == nil {
		wrong("local_route", "must be an IP address")
	}
	if c.Index < 0 {
		wrong("index", "must not be negative")
	}
	if b := c.Deakit.Backend; b != "" && b != backends.Auto && b != backends.Process && b != backends.Runc {
		wrong("deakit.backend", "must be process, runc or auto")
	}
	return errors.Join(errs...)
}

// backend is what programs of apps run in.
func (c *config) backend() string {
	switch {
	case c.Deakit.Backend != "":
		return c.Deakit.Backend
	case *c.Secure:
		return backends.Auto
	}
	return backends.Process
}

// whyBackend tells which key chose the back end; "" where none did.
func (c *config) whyBackend() string {
	switch {
	case c.Deakit.Backend != "" && c.Deakit.Backend != backends.Auto:
		return "of deakit.backend"
	case c.backend() == backends.Process:
		return "secure is false"
	}
	return ""
}

// containers is where the containers are.
func (c *config) containers(file string) (backends.Config, error) {
	depot := c.Deakit.Containers
	if depot == "" {
		depot = strings.TrimSuffix(*c.PIDFilename, ".pid") + "-containers"
	}
	depot, err := filepath.Abs(depot)
	return backends.Config{Depot: depot, Fresh: true, Hide: []string{file, c.Dirs.Tmp}}, err
}

// host is the address for figures: that of this machine on the way to local_route; "" leaves the choice to others.
func (c *config) host() string {
	if c.LocalRoute == "" {
		return ""
	}
	conn, err := net.Dial("udp", net.JoinHostPort(c.LocalRoute, "1")) // sends nothing
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}
