package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/logging"
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
	MaxStagingDuration *integer  `yaml:"max_staging_duration"` // seconds
	MaxActiveTasks     *integer  `yaml:"max_active_tasks"`
	Queues             *[]string `yaml:"queues"`
	PIDFilename        *string   `yaml:"pid_filename"`
	Secure             *bool     `yaml:"secure"`

	Dirs struct {
		Tmp string `yaml:"tmp"`
	} `yaml:"dirs"`
	Index      int       `yaml:"index"`
	LocalRoute string    `yaml:"local_route"`
	Extras     yaml.Node `yaml:"deakit"`

	deakit extras
}

// An integer is not a part of any other number.
type integer int64

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *integer) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.Tag != "!!int" {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: an integer is expected", node.Line)}}
	}
	return node.Decode((*int64)(n))
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
	err := yaml.Unmarshal(data, c)
	var types *yaml.TypeError
	switch {
	case errors.As(err, &types):
		return nil, &checkError{errors.New(strings.Join(types.Errors, "; "))}
	case err != nil:
		return nil, &loadError{name, err}
	}
	if err := errors.Join(c.readExtras(), c.check()); err != nil {
		return nil, &checkError{err}
	}
	return c, nil
}

// readExtras reads the keys below deakit. There, one that is not known is a mistake.
func (c *config) readExtras() error {
	if c.Extras.IsZero() {
		return nil
	}
	data, err := yaml.Marshal(&c.Extras)
	if err != nil {
		return fmt.Errorf("deakit: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c.deakit); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("deakit: %w", err)
	}
	return nil
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
	if _, err := logging.ParseLevel(*c.Logging.Level); err != nil {
		errs = append(errs, fmt.Errorf("logging.level: %w", err))
	}
	if *c.MaxStagingDuration < 1 || *c.MaxStagingDuration > integer(time.Duration(1<<63-1)/time.Second) {
		errs = append(errs, errors.New("max_staging_duration must be at least 1, in seconds"))
	}
	if *c.MaxActiveTasks < 1 {
		errs = append(errs, errors.New("max_active_tasks must be at least 1"))
	}
	if c.LocalRoute != "" && net.ParseIP(c.LocalRoute) == nil {
		errs = append(errs, errors.New("local_route must be an IP address"))
	}
	if c.Index < 0 {
		errs = append(errs, errors.New("index must not be negative"))
	}
	if b := c.deakit.Backend; b != "" && b != backends.Auto && b != backends.Process && b != backends.Runc {
		errs = append(errs, errors.New("deakit.backend must be process, runc or auto"))
	}
	return errors.Join(errs...)
}

// backend is what programs of apps run in.
func (c *config) backend() string {
	switch {
	case c.deakit.Backend != "":
		return c.deakit.Backend
	case *c.Secure:
		return backends.Auto
	}
	return backends.Process
}

// containers is where the containers are.
func (c *config) containers(file string) (backends.Config, error) {
	depot := c.deakit.Containers
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
