package monit

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/deakit/deakit/messaging"
)

// Whether monit watches a service.
const (
	NotMonitored = 0
	Monitored    = 1
	Initializing = 2
)

// A Status is what monit tells of itself and of all services: the document of /_status2.
type Status struct {
	ID          string // of this monit
	Incarnation string // Unix time of its start, in seconds
	Version     string
	Services    []Service
	Groups      map[string][]string // names of services, by name of group
}

// A Service is what monit watches.
type Service struct {
	Name          string    `xml:"name,attr"`
	Type          int       `xml:"type"`           // 3 is a process, 5 the system, others are files and hosts
	Status        int       `xml:"status"`         // 0 when all is well
	Message       string    `xml:"status_message"` // what is not, may be empty
	Monitor       int       `xml:"monitor"`        // NotMonitored, Monitored or Initializing
	PendingAction int       `xml:"pendingaction"`  // 0 when none waits to be done
	Uptime        int64     `xml:"uptime"`         // seconds, of a process
	Memory        MemoryUse `xml:"memory"`         // of a process
	CPU           CPUUse    `xml:"cpu"`            // of a process
	System        System    `xml:"system"`         // of the system
}

// A Figure is a number of which monit may have none yet: it then writes "nan" or "inf", which is read as 0.
type Figure float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Figure) UnmarshalText(text []byte) error {
	digits := strings.TrimSpace(string(text))
	value, err := strconv.ParseFloat(strings.TrimPrefix(digits, "-"), 64) // which knows nan without a sign only
	switch {
	case digits == "", math.IsNaN(value), math.IsInf(value, 0): // the last two with an error or without
		*f = 0
		return nil
	case err != nil:
		return err
	case digits[0] == '-':
		value = -value
	}
	*f = Figure(value)
	return nil
}

// MemoryUse is what a process occupies, alone and with its children.
type MemoryUse struct {
	Percent      Figure `xml:"percent"`
	PercentTotal Figure `xml:"percenttotal"`
	KB           int64  `xml:"kilobyte"`
	KBTotal      int64  `xml:"kilobytetotal"`
}

// CPUUse is what a process takes of the processors, alone and with its children.
type CPUUse struct {
	Percent      Figure `xml:"percent"`
	PercentTotal Figure `xml:"percenttotal"`
}

// System has the figures of the machine.
type System struct {
	Load1  Figure `xml:"load>avg01"`
	Load5  Figure `xml:"load>avg05"`
	Load15 Figure `xml:"load>avg15"`

	User   Figure `xml:"cpu>user"` // percent, as the next two
	System Figure `xml:"cpu>system"`
	Wait   Figure `xml:"cpu>wait"`

	Memory MemoryUse `xml:"memory"`
	Swap   MemoryUse `xml:"swap"`
}

// Failed tells whether something is wrong with the service and monit says what.
func (s Service) Failed() bool { return s.Status > 0 && s.Message != "" }

// Process is the service as an agent tells of it.
func (s Service) Process() messaging.AgentProcess {
	p := messaging.AgentProcess{Name: s.Name, State: messaging.JobFailing}
	switch {
	case s.Monitor == NotMonitored:
		p.State = messaging.JobUnknown
	case s.Monitor == Initializing:
		p.State = messaging.JobStarting
	case s.Status == 0:
		p.State = messaging.JobRunning
	}
	p.Uptime.Seconds = messaging.Int(s.Uptime)
	p.Memory = messaging.AgentProcessMemory{KB: messaging.Int(s.Memory.KBTotal), Percent: float64(s.Memory.PercentTotal)}
	p.CPU.Total = float64(s.CPU.PercentTotal)
	return p
}

// Group returns the services of a group, in the order of the document. None is no error.
func (s Status) Group(name string) []Service {
	var services []Service
	for _, service := range s.Services {
		if slices.Contains(s.Groups[name], service.Name) {
			services = append(services, service)
		}
	}
	return services
}

// ParseStatus reads a status document. The encodings are those that monit uses: ISO-8859-1 and UTF-8.
func ParseStatus(r io.Reader) (Status, error) {
	tokens := &shallow{Decoder: xml.NewDecoder(r)}
	tokens.CharsetReader = charset
	var doc struct {
		XMLName     xml.Name `xml:"monit"`
		ID          string   `xml:"id,attr"`
		Incarnation string   `xml:"incarnation,attr"`
		Version     string   `xml:"version,attr"`
		// Older versions, and /_status, have them here.
		Server struct {
			ID          string `xml:"id"`
			Incarnation string `xml:"incarnation"`
			Version     string `xml:"version"`
		} `xml:"server"`
		Services struct {
			Service []Service `xml:"service"`
		} `xml:"services"`
		Groups struct {
			Group []struct {
				Name    string   `xml:"name,attr"`
				Service []string `xml:"service"`
			} `xml:"servicegroup"`
		} `xml:"servicegroups"`
	}
	if err := xml.NewTokenDecoder(tokens).Decode(&doc); err != nil {
		return Status{}, fmt.Errorf("status of monit: %w", err)
	}
	status := Status{
		ID: cmp.Or(doc.ID, doc.Server.ID), Incarnation: cmp.Or(doc.Incarnation, doc.Server.Incarnation),
		Version: cmp.Or(doc.Version, doc.Server.Version), Services: doc.Services.Service, Groups: map[string][]string{},
	}
	for _, group := range doc.Groups.Group {
		status.Groups[group.Name] = group.Service
	}
	return status, nil
}

// maxDepth bounds elements in elements, each of which the decoder remembers. A status of monit has some ten.
const maxDepth = 100

// shallow are the tokens of a document that is not too deep.
type shallow struct {
	*xml.Decoder
	depth int
}

// Token implements xml.TokenReader.
func (s *shallow) Token() (xml.Token, error) {
	token, err := s.Decoder.Token()
	switch token.(type) {
	case xml.StartElement:
		s.depth++
	case xml.EndElement:
		s.depth--
	}
	if s.depth > maxDepth {
		return nil, fmt.Errorf("elements are more than %d deep", maxDepth)
	}
	return token, err
}

// charset reads ISO-8859-1, each byte of which is the character of the same number.
func charset(label string, input io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "iso-8859-1", "latin1":
		return &latin1{input: input}, nil
	case "utf-8", "us-ascii":
		return input, nil
	}
	return nil, fmt.Errorf("encoding %.40q is not known", label)
}

type latin1 struct {
	input io.Reader
	ready []byte // UTF-8 that was not asked for yet
}

func (l *latin1) Read(p []byte) (int, error) {
	if len(l.ready) == 0 {
		buf := make([]byte, 4<<10)
		n, err := l.input.Read(buf)
		if n == 0 {
			return 0, err // an error after some bytes comes again
		}
		for _, b := range buf[:n] {
			l.ready = append(l.ready, string(rune(b))...)
		}
	}
	n := copy(p, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}
