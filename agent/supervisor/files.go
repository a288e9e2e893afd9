package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/messaging"
)

// Where things are below the base directory (both agents).
const (
	JobDir      = "monit/job"            // NNNN_label.monitrc, one for each monit file of a job
	stoppedMark = "monit/stopped"        // exists after a stop
	healthFile  = "instance/health.json" // {"state":"running"}
)

// maxJobFile bounds a monit file, in bytes.
const maxJobFile = 1 << 20

// A JobFile is a monit file of an installed job.
type JobFile struct {
	Index   int    // position in the reversed list of jobs, from 0: jobs that are named later come first
	Label   string // "nats" for its file monit, "nats_extra" for extra.monit
	Content []byte // in monit's language
}

func (f JobFile) name() (string, error) {
	ok := f.Label != "" && len(f.Label) <= 240 && !strings.ContainsFunc(f.Label, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._+~@-", r)
	})
	if !ok || f.Index < 0 || f.Index > 9999 {
		return "", fmt.Errorf("monit file %d_%.80q: want a number up to 9999, and a name of letters, digits and . _ + ~ @ -", f.Index, f.Label)
	}
	if len(f.Content) > maxJobFile {
		return "", fmt.Errorf("monit file %s: it is longer than %d bytes", f.Label, maxJobFile)
	}
	return fmt.Sprintf("%04d_%s.monitrc", f.Index, f.Label), nil
}

// Files is the base directory of an agent ("/var/vcap"), which exists. It holds no state of its own.
type Files string

// within calls do with the directory opened.
func (f Files) within(what string, do func(root *os.Root) error) error {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer root.Close()
	if err := do(root); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Add writes the monit file of a job; one with the same name is replaced.
func (f Files) Add(file JobFile) error {
	name, err := file.name()
	if err != nil {
		return err
	}
	return f.within("add monit file of "+file.Label, func(root *os.Root) error {
		if err := root.MkdirAll(JobDir, 0o700); err != nil {
			return err
		}
		return atomicfile.WriteFileIn(root, path.Join(JobDir, name), file.Content, 0o600)
	})
}

// RemoveAll removes the monit files of all jobs.
func (f Files) RemoveAll() error {
	return f.within("remove monit files", func(root *os.Root) error { return rmtree.In(root, JobDir) })
}

// All returns the content of the monit files, by name of file. None is no error.
func (f Files) All() (map[string][]byte, error) {
	all := map[string][]byte{}
	err := f.within("read monit files", func(root *os.Root) error {
		dir, err := root.Open(JobDir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer dir.Close()
		names, err := dir.Readdirnames(-1)
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, name := range names {
			if !strings.HasSuffix(name, ".monitrc") {
				continue
			}
			file, err := root.Open(path.Join(JobDir, name))
			if err != nil {
				return err
			}
			all[name], err = io.ReadAll(io.LimitReader(file, maxJobFile))
			file.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// Stopped tells whether the processes were stopped on purpose. It is asked with each state, and so takes the short way: whoever
// could lead it elsewhere can just as well make the mark.
func (f Files) Stopped() (bool, error) {
	_, err := os.Lstat(filepath.Join(string(f), stoppedMark))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the stopped mark: %w", err)
	}
	return true, nil
}

// SetStopped notes that the processes were stopped on purpose, or that they are to run.
func (f Files) SetStopped(stopped bool) error {
	return f.within("set the stopped mark", func(root *os.Root) error {
		if !stopped {
			if err := root.Remove(stoppedMark); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		if err := root.MkdirAll(path.Dir(stoppedMark), 0o700); err != nil {
			return err
		}
		return atomicfile.WriteFileIn(root, stoppedMark, nil, 0o600)
	})
}

// WriteHealth tells jobs on the machine how it is, in base/instance/health.json.
func (f Files) WriteHealth(state messaging.JobState) error {
	data, err := json.Marshal(struct {
		State messaging.JobState `json:"state"`
	}{state})
	if err != nil {
		return err
	}
	return f.within("write "+healthFile, func(root *os.Root) error {
		if err := root.MkdirAll(path.Dir(healthFile), 0o755); err != nil {
			return err
		}
		return atomicfile.WriteFileIn(root, healthFile, data, 0o644)
	})
}
