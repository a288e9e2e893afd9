package hosts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/deakit/deakit/internal/atomicfile"
)

// recordsFile is where DNS servers find the list, below the base directory.
const recordsFile = "instance/dns/records.json"

// maxRecords bounds a list, in bytes.
const maxRecords = 256 << 20

var (
	// ErrVersion: the list has another version than was announced.
	ErrVersion = errors.New("version from unpacked dns blob does not match version supplied by director")
	// ErrRecords: the list is malformed.
	ErrRecords = errors.New("malformed dns records")
)

// Config says which files are kept.
type Config struct {
	Base string // base directory, "/var/vcap"; required

	// HostsFile is the file for the system's resolver; default /etc/hosts. Its directory must allow a new file to be put in place:
	// where the file is mounted by itself, as in containers, name another one.
	HostsFile string

	// Hostname is the name of this machine, which is its agent id; required.
	Hostname string

	// Group is the number of the group that may read the list of records, that of vcap; 0 is root's.
	Group int

	Logger *slog.Logger // nil discards
}

// A Syncer keeps the files of one machine.
type Syncer struct {
	cfg Config
	log *slog.Logger
	mu  sync.Mutex // one list after the other
}

// New returns a Syncer with the defaults filled in.
func New(cfg Config) (*Syncer, error) {
	if cfg.Base == "" || !isName(cfg.Hostname) {
		return nil, errors.New("hosts: Config needs Base, and a Hostname without blanks")
	}
	if cfg.HostsFile == "" {
		cfg.HostsFile = "/etc/hosts"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Syncer{cfg: cfg, log: cfg.Logger}, nil
}

// Sync brings the machine to the given version. Unless it has that, or a later one, fetch gets the list, which Sync closes; what fetch
// returns has been checked against its digest. It fails with ErrVersion or ErrRecords, or with what fetch returned, and then the files
// are as before. Both files are replaced atomically, the one that has the version last.
func (s *Syncer) Sync(ctx context.Context, version uint64, fetch func(context.Context) (io.ReadCloser, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.version(); ok && have >= version {
		return nil
	}
	data, err := get(ctx, fetch)
	if err != nil {
		return fmt.Errorf("sync dns: %w", err)
	}
	var list struct {
		Version *uint64     `json:"version"`
		Records [][2]string `json:"records"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("sync dns: %w: %w", ErrRecords, err)
	}
	if list.Version == nil || *list.Version != version {
		return fmt.Errorf("sync dns: %w", ErrVersion)
	}
	text, err := hostsText(s.cfg.Hostname, list.Records)
	if err != nil {
		return fmt.Errorf("sync dns: %w", err)
	}
	if err := atomicfile.WriteFile(s.cfg.HostsFile, text, 0o644); err != nil {
		return fmt.Errorf("sync dns: %w", err)
	}
	if err := s.save(data); err != nil {
		return fmt.Errorf("sync dns: %w", err)
	}
	return nil
}

// WriteDefaults writes the hosts file of a machine that knows no other, unless it has one already that begins in the same way: that
// has what Sync wrote.
func (s *Syncer) WriteDefaults() error {
	text, err := hostsText(s.cfg.Hostname, nil)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(s.cfg.HostsFile); err == nil && bytes.HasPrefix(have, text) {
		return nil
	}
	return atomicfile.WriteFile(s.cfg.HostsFile, text, 0o644)
}

// version returns that of the list which the machine has. One that cannot be read counts as none, and is replaced.
func (s *Syncer) version() (uint64, bool) {
	data, err := os.ReadFile(filepath.Join(s.cfg.Base, recordsFile))
	var list struct {
		Version *uint64 `json:"version"`
	}
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false
	case err != nil || list.Version == nil:
		s.log.Warn("hosts.records.unreadable", "file", recordsFile, "error", err)
		return 0, false
	}
	return *list.Version, true
}

func get(ctx context.Context, fetch func(context.Context) (io.ReadCloser, error)) ([]byte, error) {
	body, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxRecords+1))
	if err == nil && len(data) > maxRecords {
		err = fmt.Errorf("%w: they have more than %d bytes", ErrRecords, maxRecords)
	}
	return data, err
}

// save puts the list in place, readable for the group.
func (s *Syncer) save(data []byte) error {
	root, err := os.OpenRoot(s.cfg.Base)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(recordsFile), 0o755); err != nil {
		return err
	}
	f, err := atomicfile.Create(root, path.Dir(recordsFile), 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if os.Geteuid() == 0 {
		if err := f.Chown(0, s.cfg.Group); err != nil {
			return err
		}
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit(recordsFile)
}

// defaults is what each machine has in its hosts file; NAME is its own name, which comes first, so that it is what "hostname -f" says
// (Go agent).
const defaults = `127.0.0.1 NAME localhost

# The following lines are desirable for IPv6 capable hosts
::1 NAME localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
ff02::3 ip6-allhosts
`

// hostsText makes a hosts file of pairs of an address and a name.
func hostsText(hostname string, records [][2]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(strings.ReplaceAll(defaults, "NAME", hostname))
	for i, record := range records {
		address, name := record[0], record[1]
		// The zone of an address, "fe80::1%eth0", may be any text.
		if _, err := netip.ParseAddr(address); err != nil || !isName(address) || !isName(name) {
			return nil, fmt.Errorf("%w: record %d is not an address and a name", ErrRecords, i)
		}
		b.WriteString(address + " " + name + "\n")
	}
	return b.Bytes(), nil
}

// isName tells whether a name can stand in a hosts file, where blanks and line feeds would make others of it.
func isName(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '#'
	})
}
