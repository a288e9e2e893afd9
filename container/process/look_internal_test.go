package process

import (
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A blankSleeper is a process that was started without any environment, and puts a marker there when it is told to.
type blankSleeper struct {
	proc
	tell io.WriteCloser
	cmd  *exec.Cmd
}

const shownMarker = "shown"

func startBlank(t *testing.T) blankSleeper {
	t.Helper()
	cmd := exec.Command("sh", "-c", "read line && "+markerName+"="+shownMarker+" exec sleep 1000")
	cmd.Env = []string{}
	tell, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s := blankSleeper{tell: tell, cmd: cmd}
	t.Cleanup(s.end)
	require.Eventually(t, func() bool { return strings.Contains(s.file("cmdline"), "read line") }, 10*time.Second, time.Millisecond)
	s.proc, err = statOf(cmd.Process.Pid)
	require.NoError(t, err)
	return s
}

func (b blankSleeper) file(name string) string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(b.cmd.Process.Pid) + "/" + name) // a test waits for what is in it
	return string(text)
}

func (b blankSleeper) end() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

// TestLookAmongBlanks counts the tables that are read for the sake of a process that shows no marker.
func TestLookAmongBlanks(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(*testing.T, blankSleeper)
		tables    int
		found     bool
	}{
		"it stays so": {func(*testing.T, blankSleeper) {}, 1, false},
		"it shows its marker": {func(t *testing.T, b blankSleeper) {
			_, err := io.WriteString(b.tell, "\n")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return strings.Contains(b.file("environ"), markerName) }, 10*time.Second, time.Millisecond)
		}, 1, true},
		"it ends": {func(_ *testing.T, b blankSleeper) { b.end() }, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			blank, back := startBlank(t), new(Backend)
			tables := map[*table]bool{}
			used := false
			back.look(func(s *snapshot) (found []proc) {
				tables[s.table] = true
				for _, p := range s.procs {
					if p.identity() == blank.identity() && s.marker(p) == shownMarker {
						found = append(found, p)
					}
				}
				if len(tables) == 1 && len(found) == 0 {
					tc.meanwhile(t, blank)
				}
				return found
			}, func(_ *snapshot, found []proc) {
				used = true
				assert.Equal(t, tc.found, len(found) == 1)
			})
			assert.True(t, used)
			assert.Len(t, tables, tc.tables)
		})
	}
}

// A depot that was just made holds nothing to be looked for among all processes, whatever Fresh says.
func TestNewDepotIsOpenedWithoutALook(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		depot := t.TempDir()
		for _, looked := range []bool{false, true} {
			b, err := New(Options{Depot: depot, Fresh: fresh})
			require.NoError(t, err)
			b.tables.mu.Lock()
			assert.Equal(t, looked, b.tables.last != nil)
			b.tables.mu.Unlock()
			require.NoError(t, b.Close(t.Context()))
		}
	}
}
