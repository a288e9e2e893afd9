package job

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/atomicfile"
)

const (
	logrotateFile  = "etc/logrotate.d/vcap"
	defaultLogSize = "50M"
	logLevels      = 3 // directories of logs below sys/log, that itself included
)

// rotateLogs tells logrotate about the logs of jobs (bosh-agent).
func (i *Installer) rotateLogs(s spec.Spec) error {
	if i.cfg.SystemRoot == "" {
		return nil
	}
	base, err := filepath.Abs(i.cfg.Base)
	if err != nil {
		return err
	}
	if strings.ContainsAny(base, "\"\n") {
		return fmt.Errorf("logrotate cannot name a file in %q: use another base directory", base)
	}
	root, err := os.OpenRoot(i.cfg.SystemRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(logrotateFile), 0o755); err != nil {
		return err
	}
	// Validate has looked at the size, which is text of the manifest.
	return atomicfile.WriteFileIn(root, logrotateFile, []byte(logrotate(base, cmp.Or(s.MaxLogFileSize(), defaultLogSize))), 0o644)
}

func logrotate(base, size string) string {
	var b strings.Builder
	b.WriteString("# Written by the agent with each apply.\n\n")
	dir := filepath.Join(base, "data/sys/log")
	for range logLevels {
		fmt.Fprintf(&b, `"%s/*.log" "%s/.*.log" `, dir, dir)
		dir += "/*"
	}
	fmt.Fprintf(&b, "{\n  missingok\n  rotate 7\n  compress\n  copytruncate\n  size %s\n}\n", size)
	return b.String()
}
