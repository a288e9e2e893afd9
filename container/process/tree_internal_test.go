package process

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTree builds process tables by hand. In each of them this process is 100, in session 90 of its parent 90.
func TestTree(t *testing.T) {
	outside := []proc{
		{pid: 1, sid: 1, state: 'S'},
		{pid: 90, ppid: 1, sid: 90, state: 'S'},
		{pid: 100, ppid: 90, sid: 90, state: 'S'},
		{pid: 101, ppid: 90, sid: 90, state: 'S'},  // a neighbour
		{pid: 102, ppid: 100, sid: 90, state: 'S'}, // a child of ours that is no container's
	}
	const marked = "ours"
	for _, tc := range []struct {
		name    string
		procs   []proc
		markers map[int]string
		clues   clues
		want    []int
	}{
		{name: "nothing known"},
		{
			name: "child, descendants, and their sessions",
			procs: []proc{
				{pid: 200, ppid: 100, sid: 200, start: 50},
				{pid: 201, ppid: 200, sid: 200, start: 51},
				{pid: 202, ppid: 201, sid: 202, start: 52},
				{pid: 203, ppid: 1, sid: 202, start: 53}, // an orphan in the session of a descendant
				{pid: 204, ppid: 1, sid: 204, start: 53}, // a stranger
			},
			clues: clues{running: map[int]uint64{200: 50}},
			want:  []int{200, 201, 202, 203},
		},
		{
			name: "pid of a child that someone else has",
			procs: []proc{
				{pid: 200, ppid: 1, sid: 200, start: 60},
				{pid: 201, ppid: 200, sid: 200, start: 61},
			},
			clues: clues{running: map[int]uint64{200: 50}},
		},
		{
			name: "session of a reaped leader",
			procs: []proc{
				{pid: 201, ppid: 1, sid: 200, start: 51},
				{pid: 202, ppid: 201, sid: 200, start: 70}, // made after the leader's end
			},
			clues: clues{reaped: map[int]lifetime{200: {50, 60}}},
			want:  []int{201, 202},
		},
		{
			name: "number of a session that others had before and have again",
			procs: []proc{
				{pid: 201, ppid: 1, sid: 200, start: 40},
				{pid: 202, ppid: 1, sid: 200, start: 70},
			},
			clues: clues{reaped: map[int]lifetime{200: {50, 60}}},
		},
		{
			name: "marked orphans and what they made",
			procs: []proc{
				{pid: 300, ppid: 1, sid: 300, start: 50},
				{pid: 301, ppid: 300, sid: 301, start: 51},
				{pid: 302, ppid: 1, sid: 302, start: 51},
				{pid: 303, ppid: 1, sid: 303, start: 49}, // older than the container
			},
			markers: map[int]string{300: marked, 302: "another", 303: marked},
			clues:   clues{since: 50},
			want:    []int{300, 301},
		},
		{
			name:    "never ourselves, our ancestors or our session",
			procs:   []proc{{pid: 300, ppid: 100, sid: 90, start: 50}},
			markers: map[int]string{90: marked, 100: marked, 300: marked},
			want:    []int{300},
		},
		{
			name:    "a zombie has no environment but may have children",
			procs:   []proc{{pid: 300, ppid: 100, sid: 300, start: 50, state: 'Z'}, {pid: 301, ppid: 300, sid: 300, start: 51}},
			markers: map[int]string{},
			clues:   clues{running: map[int]uint64{300: 50}},
			want:    []int{300, 301},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &snapshot{table: newTable(slices.Concat(outside, tc.procs), 100)}
			if tc.markers != nil {
				for pid, value := range tc.markers {
					s.markers[pid] = marker{value: value}
				}
			}
			tc.clues.marked = func(marker string) bool { return marker == marked }
			var got []int
			for _, p := range s.tree(tc.clues) {
				got = append(got, p.pid)
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestParseStat(t *testing.T) {
	rest := " 1 5 7 0 -1 4194304 1 2 3 4 10 20 -1 40 20 0 3 0 999 1000 10 18446744073709551615"
	for _, name := range []string{"sh", "a b", ") S 1 2 3 (", "", "\xff\n", strings.Repeat("x", 64)} {
		p, err := parseStat([]byte("42 (" + name + ") R" + rest))
		require.NoError(t, err, name)
		assert.Equal(t, proc{pid: 42, ppid: 1, sid: 7, state: 'R', threads: 3, cpu: 70, start: 999}, p, name)
	}
	for _, text := range []string{"", "42", "42 (x)", "42 (x) R 1", ")(", "x (y) R" + rest, "42 (y) RR" + rest} {
		_, err := parseStat([]byte(text))
		assert.Error(t, err, text)
	}

	fs, err := openProcFS()
	require.NoError(t, err)
	defer fs.close()
	self, err := fs.stat(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, os.Getppid(), self.ppid)
	assert.True(t, self.alive())
	assert.LessOrEqual(t, self.start, ticksNow())
}

func TestAlive(t *testing.T) {
	assert.False(t, proc{state: 'Z', threads: 1}.alive())
	assert.False(t, proc{state: 'X'}.alive())
	assert.True(t, proc{state: 'Z', threads: 2}.alive(), "only the first thread has ended")
	assert.True(t, proc{state: 'T', threads: 1}.alive())
}

func FuzzParseStat(f *testing.F) {
	text, err := os.ReadFile("/proc/self/stat")
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte("1 (a) b) S 0 1 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseStat(text)
		if err == nil && !strings.Contains(string(text), ")") {
			t.Errorf("%q gave %+v", text, p)
		}
	})
}

func TestRefuseMounts(t *testing.T) {
	assert.Error(t, refuseMounts("/proc"))
	assert.NoError(t, refuseMounts(t.TempDir()))
	assert.Equal(t, "/a b\\\tc", unescapeMount(`/a\040b\134\011c`))
}

func TestBlankEnvironment(t *testing.T) {
	for _, env := range [][]string{{}, {"A=b"}} {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = env
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { // it is blank at first in any case
			s, err := new(Backend).snapshot()
			require.NoError(t, err)
			defer s.close()
			assert.Empty(t, s.marker(proc{pid: cmd.Process.Pid}))
			return len(s.blanks) == 1-len(env)
		}, 10*time.Second, time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
}
