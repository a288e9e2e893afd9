package component

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
)

// Config of a Component. Only Type is required.
type Config struct {
	// Type says what the process is: "DEA", "Router", "HealthManager", … Collectors tell components apart by it.
	Type string

	// Index of the job.
	Index int

	// UUID names the process. Empty draws "<Index>-<32 hex digits>". A DEA takes its id (dea_ng).
	UUID string

	// Host is the IP address to listen on and to announce. Empty takes LocalIP. Port 0 draws a free port.
	Host string
	Port uint16

	// User and Password for the endpoint. Each is drawn, 32 hex digits, when it is empty.
	User, Password string

	// Varz returns what the owner adds to /varz: anything that encoding/json can encode. Keys of the component itself win.
	// Metrics returns what the owner adds to /metrics. Either may be nil. They are called by one request at a time and at
	// most once a second, and end when their context does.
	Varz    func(context.Context) map[string]any
	Metrics func(context.Context) []Metric

	// LogCounts counts the lines of the process's log; nil shows none.
	LogCounts *LogCounts

	// Conn announces the component and answers for it; the caller closes it, after Run. Nil leaves that out.
	Conn *nats.Conn

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	c.UUID = cmp.Or(c.UUID, fmt.Sprintf("%d-%s", c.Index, randomHex()))
	c.Host = cmp.Or(c.Host, LocalIP())
	c.User = cmp.Or(c.User, randomHex())
	c.Password = cmp.Or(c.Password, randomHex())
	if c.Varz == nil {
		c.Varz = func(context.Context) map[string]any { return nil }
	}
	if c.Metrics == nil {
		c.Metrics = func(context.Context) []Metric { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Type == "" {
		errs = append(errs, errors.New("Type is required"))
	}
	if c.Index < 0 {
		errs = append(errs, errors.New("Index must not be negative"))
	}
	if strings.Contains(c.User, ":") {
		errs = append(errs, errors.New("User must not contain ':': basic authentication cannot carry it"))
	}
	return errors.Join(errs...)
}

func randomHex() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// LocalIP returns the address of the interface that leads outside, or 127.0.0.1 where none does. Nothing is sent.
func LocalIP() string {
	conn, err := net.Dial("udp", "1.2.3.4:1")
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}
