package applog

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A recorder is an Emitter that keeps what it gets.
type recorder struct {
	mu    sync.Mutex
	lines []Line
}

func (r *recorder) Emit(line Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *recorder) all() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Line(nil), r.lines...)
}

// texts returns the texts of one stream.
func (r *recorder) texts(kind Stream) []string {
	texts := []string{}
	for _, l := range r.all() {
		if l.Stream == kind {
			texts = append(texts, l.Text)
		}
	}
	return texts
}

// A logBook is a logger whose output can be looked at.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBook) count(text string) int { return strings.Count(b.String(), text) }

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 15*time.Second, 2*time.Millisecond, what)
}
