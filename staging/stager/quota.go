package stager

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"
)

// A quota is what the files of a task may take in its workspace, all together.
type quota struct {
	most int64 // bytes

	mu   sync.Mutex
	used int64
}

// newQuota returns that of a task with so much disk.
func newQuota(cfg Config, diskMB int64) *quota {
	return &quota{most: sane(cmp.Or(cfg.WorkspaceMB, 2*diskMB)) << 20}
}

// noRoom is the error of a task whose quota is so many megabytes.
type noRoom int64

func (mb noRoom) Error() string {
	return fmt.Sprintf("the task has more than %d MB of files: app package, caches and droplet together", int64(mb))
}

// take counts bytes that are about to be written.
func (q *quota) take(bytes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes > q.most-q.used {
		return noRoom(q.most >> 20)
	}
	q.used += bytes
	return nil
}

// remove removes a file and gives back what it took.
func (q *quota) remove(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= info.Size()
	return nil
}

// writer returns a writer to w, which is a new file, that fails when the quota is used up.
func (q *quota) writer(w io.Writer) io.Writer { return &quotaWriter{q, w} }

type quotaWriter struct {
	q *quota
	w io.Writer
}

func (w *quotaWriter) Write(p []byte) (int, error) {
	if err := w.q.take(int64(len(p))); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
