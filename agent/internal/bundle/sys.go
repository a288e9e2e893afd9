package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// MakeSys makes data/sys with log and run, and the link sys to it, where they are missing.
func (s *Store) MakeSys() error {
	for _, dir := range []string{"log", "run"} {
		if err := s.MkdirAll("data", 0o755); err != nil {
			return err
		}
		if err := s.MkdirAll(path.Join("data/sys", dir), 0o750); err != nil {
			return err
		}
	}
	if err := s.root.Symlink("data/sys", "sys"); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// MakeJobDirs makes the directories that a job may write to: its logs, its pid files and its data (bosh-agent).
func (s *Store) MakeJobDirs(job string) error {
	if err := s.MakeSys(); err != nil {
		return err
	}
	for _, dir := range []string{"data/sys/log", "data/sys/run", "data"} {
		if err := s.MkdirAll(path.Join(dir, job), 0o770); err != nil {
			return fmt.Errorf("make directories of job '%s': %w", job, err)
		}
	}
	return nil
}
