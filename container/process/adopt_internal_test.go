package process

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
)

func openInternal(t *testing.T) *Backend {
	t.Helper()
	b, err := New(Options{Depot: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close(context.Background())) })
	return b
}

// TestStrangersAreNotAdopted restores a container whose process files name processes that are of no container.
func TestStrangersAreNotAdopted(t *testing.T) {
	start := func(attr *syscall.SysProcAttr) proc {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = attr
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		p, err := statOf(cmd.Process.Pid)
		require.NoError(t, err)
		return p
	}
	leader, member := start(&syscall.SysProcAttr{Setsid: true}), start(nil)
	b := openInternal(t)
	pid, since := uint64(leader.pid), leader.start
	for name, born := range map[string]birth{
		"who got the pid later":     {Magic: lifeMagic, Boot: b.boot, PID: pid, Start: since - 1},
		"before the machine booted": {Magic: lifeMagic, Boot: b.boot + 1, PID: pid, Start: since},
		"who leads no session":      {Magic: lifeMagic, Boot: b.boot, PID: uint64(member.pid), Start: member.start},
		"as a supervisor":           {Magic: lifeMagic, Boot: b.boot, PID: pid, Start: since - 1, KeeperPID: pid, KeeperStart: since - 1},
		"that does not exist":       {Magic: lifeMagic, Boot: b.boot, PID: 1<<31 - 1, Start: 1},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := b.Create(t.Context(), container.Spec{})
			require.NoError(t, err)
			id, f, err := made.(*box).makeProcessFile()
			require.NoError(t, err)
			require.NoError(t, note(f, born))
			require.NoError(t, f.Close())

			c, err := b.restore(made.Handle())
			require.NoError(t, err)
			defer c.letGo()
			assert.Empty(t, c.clues().running)
			assert.Empty(t, c.sessions)
			p := c.procs[id]
			require.NoError(t, p.Signal(t.Context(), syscall.SIGKILL))
			status, err := p.Wait(t.Context())
			require.ErrorIs(t, err, container.ErrStatusUnknown)
			assert.EqualValues(t, -1, status)
			for _, stranger := range []proc{leader, member} {
				now, there, err := find(stranger.identity())
				require.NoError(t, err)
				assert.True(t, there && now.alive())
			}
		})
	}
}

// TestDeathWithoutBirth is what a supervisor leaves whose back end is killed before the program begins.
func TestDeathWithoutBirth(t *testing.T) {
	b := openInternal(t)
	made, err := b.Create(t.Context(), container.Spec{})
	require.NoError(t, err)
	id, f, err := made.(*box).makeProcessFile()
	require.NoError(t, err)
	require.NoError(t, note(f, death{Second: 7, Nanosecond: 1, Status: 127 << 8}))
	require.NoError(t, f.Close())
	c, err := b.restore(made.Handle())
	require.NoError(t, err)
	defer c.letGo()
	assert.Empty(t, c.procs)
	assert.Equal(t, id, c.lastID, "its number is not given again")
}

// TestHeldBack lets the preparation of a process fail: its program must not begin.
func TestHeldBack(t *testing.T) {
	s, err := newSupervisor()
	require.NoError(t, err)
	defer s.close()
	witness := t.TempDir() + "/begun"
	status, err := os.Create(t.TempDir() + "/status")
	require.NoError(t, err)
	defer status.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	refused := errors.New("refused")
	attr := &os.ProcAttr{Env: []string{"A=b"}, Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setsid: true}}
	held := 0
	_, err = s.start("/bin/sh", []string{"sh", "-c", "echo >" + witness}, attr, status, nil, func(keeper *os.Process, pid int) error {
		held = pid
		p, err := statOf(pid)
		require.NoError(t, err)
		assert.Equal(t, keeper.Pid, p.ppid)
		assert.True(t, p.alive())
		return refused
	})
	require.ErrorIs(t, err, refused)
	_, err = os.Stat("/proc/" + strconv.Itoa(held))
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.NoFileExists(t, witness)
}

func TestProcessFile(t *testing.T) {
	var file bytes.Buffer
	born := birth{Magic: lifeMagic, Boot: 1, PID: 2, Start: 3, KeeperPID: 4, KeeperStart: 5}
	died := death{Second: 7, Nanosecond: 80e6, Status: 3 << 8, User: [2]int64{1, 500000}, System: [2]int64{0, 250000}}
	require.NoError(t, binary.Write(&file, binary.NativeEndian, born))
	require.NoError(t, binary.Write(&file, binary.NativeEndian, died))
	whole := file.Bytes()
	assert.Len(t, whole, 48+56, "the supervisor writes 56 bytes")

	l := readLife(bytes.NewReader(whole))
	assert.Equal(t, life{true, true, born, died}, l)
	assert.EqualValues(t, 708, l.at())
	assert.EqualValues(t, 3, l.status())
	assert.Equal(t, "1.75s", l.cpu().String())
	for n := range whole {
		l := readLife(bytes.NewReader(whole[:n]))
		assert.Equal(t, n >= 48, l.begun, n)
		assert.False(t, l.ended, n)
	}
	assert.EqualValues(t, 137, death{Status: 9}.status())
	assert.EqualValues(t, 139, death{Status: 11 | 0x80}.status(), "with a core dump")
	assert.EqualValues(t, 255, death{Status: 255 << 8}.status())
}

func FuzzProcessFile(f *testing.F) {
	f.Add(make([]byte, 104))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := readLife(bytes.NewReader(text))
		if l.ended && (!l.begun || len(text) < 104) || l.begun && l.Magic != lifeMagic {
			t.Errorf("%x gave %+v", text, l)
		}
		if status := l.status(); l.ended && (status < -1 || status > 255) {
			t.Errorf("status %d", status)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"marker":"p.h.x","state":"active","env":["\"A=b\""],"properties":[["\"a\"","\"b\""]]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text, "p.h.")
		if err == nil && (r.Version != 1 || !strings.HasPrefix(r.Marker, "p.h.") || r.State == "") {
			t.Errorf("%q gave %+v", text, r)
		}
	})
}
