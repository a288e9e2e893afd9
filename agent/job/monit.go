package job

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deakit/deakit/agent/spec"
)

// maxMonitFile bounds a monit file, in bytes.
const maxMonitFile = 1 << 20

// A MonitFile tells a supervisor about processes of a job.
type MonitFile struct {
	Index   int    // position of the job in the reversed list: jobs that are named later come first
	Label   string // "nats" for its file monit, "nats_extra" for extra.monit
	Content []byte // in monit's language
}

// MonitFiles returns the monit files of the jobs of the kept spec that are installed: the file monit and all *.monit at the
// top of each. A supervisor is given them when jobs are started.
func (i *Installer) MonitFiles() ([]MonitFile, error) {
	s, err := i.cfg.Specs.Load()
	if err != nil {
		return nil, err
	}
	var all []MonitFile
	for index, t := range slices.Backward(s.Templates()) {
		files, err := monitFiles(i.cfg.Base, t.Name)
		if err != nil {
			return nil, fmt.Errorf("monit files of job '%s': %w", t.Name, err)
		}
		for _, f := range files {
			f.Index = len(s.Templates()) - 1 - index
			all = append(all, f)
		}
	}
	return all, nil
}

// monitFiles returns those of one job, none if it is not installed.
func monitFiles(base, job string) (all []MonitFile, err error) {
	if err := spec.CheckName("job", job); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Join(base, "jobs", job)) // the link may be one of another agent, with an absolute target
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		more, ok := strings.CutSuffix(entry.Name(), ".monit")
		label := job + "_" + more
		if entry.Name() == "monit" {
			label, ok = job, true
		}
		if !ok || !entry.Type().IsRegular() {
			continue
		}
		content, err := read(root, entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, MonitFile{Label: label, Content: content})
	}
	return all, nil
}

func read(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxMonitFile+1))
	if err == nil && len(content) > maxMonitFile {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxMonitFile)
	}
	return content, err
}
