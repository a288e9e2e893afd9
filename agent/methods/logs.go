package methods

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/logs"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/uuid"
)

func (m *Machine) logMethods() []action.Method {
	return []action.Method{
		{Name: "fetch_logs", Async: true, Do: m.fetchLogs},
		{Name: "fetch_logs_with_signed_url", Async: true, Do: m.fetchLogsSigned},
		{Name: "bundle_logs", Do: m.bundleLogs},
	}
}

// FetchedLogs is the result of fetch_logs, and of its variant with a signed URL, which has no id.
type FetchedLogs struct {
	BlobID string `json:"blobstore_id,omitempty"`
	SHA1   string `json:"sha1"` // multi-digest
}

func (m *Machine) fetchLogs(ctx context.Context, logType string, filters []string) (result FetchedLogs, err error) {
	err = m.withArchive(ctx, logType, filters, func(archive io.ReadSeeker) error {
		id, d, err := m.Blobs.Put(ctx, archive)
		if err != nil {
			return fmt.Errorf("Uploading logs: %w", err)
		}
		result = FetchedLogs{id, d.String()}
		return nil
	})
	return result, err
}

// SignedLogs is the argument of fetch_logs_with_signed_url.
type SignedLogs struct {
	URL     string            `json:"signed_url" validate:"required"`
	LogType string            `json:"log_type"`
	Filters []string          `json:"filters"`
	Headers map[string]string `json:"blobstore_headers"`
}

func (m *Machine) fetchLogsSigned(ctx context.Context, r SignedLogs) (result FetchedLogs, err error) {
	err = m.withArchive(ctx, r.LogType, r.Filters, func(archive io.ReadSeeker) error {
		d, err := m.Blobs.PutSigned(ctx, r.URL, r.Headers, archive)
		if err != nil {
			return fmt.Errorf("Uploading logs: %w", err)
		}
		result = FetchedLogs{SHA1: d.String()}
		return nil
	})
	return result, err
}

// withArchive calls do with an archive of logs, which has no name and so does not outlive the process.
func (m *Machine) withArchive(ctx context.Context, logType string, filters []string, do func(io.ReadSeeker) error) error {
	if err := os.MkdirAll(m.temp(), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(m.temp(), "logs-*")
	if err != nil {
		return err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	if err := m.writeLogs(ctx, file, logType, filters); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return do(file)
}

func (m *Machine) writeLogs(ctx context.Context, w io.Writer, logType string, filters []string) error {
	types, err := logs.ParseTypes(logType)
	if err != nil {
		return err
	}
	if m.cfg.Legacy {
		if filters, err = m.namedFilters(logType, filters); err != nil {
			return err
		}
	}
	result, err := logs.Write(ctx, w, logs.Config{Base: m.cfg.Base, SystemDir: m.cfg.LogDir}, types, filters)
	if err != nil {
		return fmt.Errorf("Archiving logs: %w", err)
	}
	if len(result.Skipped) > 0 {
		m.log.Warn("agent.logs.skipped", "files", result.Skipped)
	}
	return nil
}

// namedFilters are the globs that the spec has for the names of filters; all is everything, and a name that nobody knows a glob by
// itself. (bosh_agent)
func (m *Machine) namedFilters(logType string, names []string) ([]string, error) {
	if len(names) == 0 && logType == string(logs.Job) {
		return []string{"**/*.log"}, nil
	}
	s, err := m.specs.Load()
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	if json.Unmarshal(s.Job.Extra["logs"], &known) != nil { // a list, of nothing, with today's directors
		known = map[string]string{}
	}
	known["all"] = "**/*"
	var globs []string
	for _, name := range names {
		globs = append(globs, cmp.Or(known[name], name))
	}
	return globs, nil
}

// LogsToBundle is the argument of bundle_logs.
type LogsToBundle struct {
	Owner   string   `json:"owning_user"` // who may read the archive; empty: root
	LogType string   `json:"log_type"`
	Filters []string `json:"filters"`
}

// BundledLogs is its result.
type BundledLogs struct {
	Path   string `json:"logs_tar_path"`
	SHA512 string `json:"sha512"` // with the prefix "sha512:"
}

// bundleLogs leaves an archive in data/tmp, for somebody to copy, and then to remove by remove_file.
func (m *Machine) bundleLogs(ctx context.Context, r LogsToBundle) (BundledLogs, error) {
	uid, gid, err := owner(r.Owner)
	if err != nil {
		return BundledLogs{}, err
	}
	if err := os.MkdirAll(m.temp(), 0o755); err != nil {
		return BundledLogs{}, err
	}
	root, err := os.OpenRoot(m.temp())
	if err != nil {
		return BundledLogs{}, err
	}
	defer root.Close()
	file, err := atomicfile.Create(root, ".", 0o600)
	if err != nil {
		return BundledLogs{}, err
	}
	defer file.Close()
	sum := digest.NewWriter(digest.SHA512)
	if err := m.writeLogs(ctx, io.MultiWriter(file, sum), r.LogType, r.Filters); err != nil {
		return BundledLogs{}, err
	}
	if err := file.Chown(uid, gid); err != nil {
		return BundledLogs{}, fmt.Errorf("Changing owner of logs: %w", err)
	}
	name := "logs-" + uuid.New() + ".tgz"
	if err := file.Commit(name); err != nil {
		return BundledLogs{}, err
	}
	return BundledLogs{filepath.Join(m.temp(), name), sum.Digest().String()}, nil
}

// owner finds a user; -1 for none leaves things as they are.
func owner(name string) (uid, gid int, err error) {
	if name == "" {
		return -1, -1, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("Looking up owner of logs: %w", err)
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}
