package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/uuid"
)

// An Access is how a client reaches the agent of a directory that [Development] made.
type Access struct {
	AgentID string `json:"agent_id"`
	Mbus    string `json:"mbus"` // with user and password
	CA      string `json:"ca"`   // path of the agent's certificate over HTTPS; it is there once the agent takes requests
}

// devAccess is the file with it, below the base directory.
const devAccess = "bosh/dev.json"

// Where a development agent takes requests unless it is told otherwise.
const devMbus = "https://127.0.0.1:6868"

// devID is the id of an agent that is alone.
const devID = "dev"

// Development gives the Config of an agent that is all in one directory and needs no root: processes run without monit, blobs
// and disks are directories, and nothing outside is touched. mbus is where it takes requests, by default
// https://127.0.0.1:6868; where an https:// URL has no user it gets vcap and a random password, which stays the same from
// start to start. Without agentID the id is "dev", and over NATS, where others may be, one that is drawn and stays the same too.
// ReadAccess tells clients, once the agent has begun.
func Development(dir, agentID, mbus string) (Config, error) {
	base, err := filepath.Abs(dir)
	if err != nil {
		return Config{}, fmt.Errorf("development agent: %w", err)
	}
	cfg, err := development(base, agentID, cmp.Or(mbus, devMbus))
	if err != nil {
		return Config{}, fmt.Errorf("development agent: %w", err)
	}
	return cfg, nil
}

func development(base, agentID, mbus string) (Config, error) {
	for _, name := range []string{"bosh", "root/etc", "blobstore"} {
		if err := os.MkdirAll(filepath.Join(base, name), 0o700); err != nil {
			return Config{}, err
		}
	}
	access, err := newAccess(base, agentID, mbus)
	if err != nil {
		return Config{}, err
	}
	disks, err := disk.NewMemory(filepath.Join(base, "disks"))
	if err != nil {
		return Config{}, err
	}
	document, err := json.Marshal(map[string]any{
		"agent_id":  access.AgentID,
		"vm":        map[string]any{"name": access.AgentID},
		"mbus":      access.Mbus,
		"blobstore": map[string]any{"provider": "local", "options": map[string]any{"blobstore_path": filepath.Join(base, "blobstore")}},
		"networks": map[string]any{"default": map[string]any{
			"type": "manual", "ip": "127.0.0.1", "netmask": "255.0.0.0", "gateway": "127.0.0.1", "default": []string{"dns", "gateway"},
		}},
	})
	if err != nil {
		return Config{}, err
	}
	if _, err := settings.Parse(document); err != nil { // else those of an earlier start would count
		return Config{}, err
	}
	return Config{
		access: &access, Base: base, Root: filepath.Join(base, "root"), Source: fixed(document), Supervisor: Dev,
		Disks: disks, Resolver: attaching{disks}, Unmounted: true,
	}, nil
}

// newAccess makes what clients need to know, with the password of an earlier start.
func newAccess(base, agentID, mbus string) (Access, error) {
	at, err := url.Parse(mbus)
	if err != nil {
		return Access{}, errors.New("mbus is no URL")
	}
	if err := transport.CheckBus(mbus); err != nil {
		return Access{}, err
	}
	before, err := ReadAccess(base)
	if err != nil && !errors.Is(err, ErrNoAgent) {
		return Access{}, fmt.Errorf("%w: remove it to have it made anew", err)
	}
	if at.Scheme != "https" {
		return Access{AgentID: cmp.Or(agentID, drawnID(before)), Mbus: mbus}, nil
	}
	if at.User == nil {
		at.User = url.UserPassword("vcap", monit.NewPassword())
		if u, err := url.Parse(before.Mbus); err == nil && u.User != nil {
			at.User = u.User
		}
	}
	return Access{AgentID: cmp.Or(agentID, devID), Mbus: at.String(), CA: filepath.Join(base, ownCert)}, nil
}

// drawnID is one that no other agent on the bus has, which would do what this one is told.
func drawnID(before Access) string {
	if before.AgentID != "" && before.AgentID != devID {
		return before.AgentID
	}
	return devID + "-" + uuid.New()[:8]
}

// tellClients how to reach the agent of a directory, also where a director has set another bus.
func (m *machine) tellClients(context.Context) error {
	if m.cfg.access == nil {
		return nil
	}
	access := *m.cfg.access
	if len(m.update.Mbus.URLs) > 0 {
		access.Mbus = strings.Join(m.effective.MbusURLs, ",")
	}
	if cert := m.certificates(); cert != nil && cert.Certificate != "" || !m.effective.Listens() {
		access.CA = "" // it is not that of the agent's own
	} else {
		access.CA = filepath.Join(m.cfg.Base, ownCert)
	}
	return access.write(m.cfg.Base)
}

// write is for the agent that has the directory: another one that was started there by mistake must not lead clients away.
func (a Access) write(base string) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.UpdateFile(filepath.Join(base, devAccess), append(data, '\n'), 0o600)
}

// ErrNoAgent: no development agent was ever started in a directory, or it has not begun yet.
var ErrNoAgent = errors.New("no directory of a development agent")

// ReadAccess tells how the agent of a directory is reached. It fails with ErrNoAgent when there was none.
func ReadAccess(dir string) (Access, error) {
	var access Access
	data, err := os.ReadFile(filepath.Join(dir, devAccess))
	if errors.Is(err, fs.ErrNotExist) {
		return access, fmt.Errorf("%s is %w: start one there first", dir, ErrNoAgent)
	}
	if err == nil {
		err = json.Unmarshal(data, &access)
	}
	if err != nil {
		return access, fmt.Errorf("read how to reach the agent, %s: %w", filepath.Join(dir, devAccess), err)
	}
	return access, nil
}

// fixed are settings that never change.
type fixed []byte

func (f fixed) Settings(context.Context) (*settings.Settings, error) { return settings.Parse(f) }
func (fixed) PublicSSHKey(context.Context) (string, error)           { return "", nil }

// attaching lets any device be there as soon as somebody speaks of it.
type attaching struct{ disks *disk.Memory }

const devDisk = 1 << 30 // bytes of each

func (a attaching) Resolve(_ context.Context, d settings.Disk) (string, error) {
	if !strings.HasPrefix(d.Path, "/") {
		return "", errors.New("a disk needs an absolute path of a device, such as /dev/sdb")
	}
	path := filepath.Clean(d.Path)
	return path, a.disks.Attach(path, devDisk)
}
