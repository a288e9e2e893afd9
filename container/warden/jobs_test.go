package warden_test

import (
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
)

func TestRun(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	r := p.run(handle, "echo a; echo b >&2; exit 3")
	assert.EqualValues(t, 3, r.GetExitStatus())
	assert.NotNil(t, r.ExitStatus)
	assert.Equal(t, "a\n", r.GetStdout())
	assert.Equal(t, "b\n", r.GetStderr())
	assert.Equal(t, "active", r.GetInfo().GetState())
	assert.Empty(t, r.GetInfo().GetJobIds())

	r = p.run(handle, "true")
	require.NotNil(t, r.ExitStatus, "0 is not absent")
	assert.Zero(t, r.GetExitStatus())
	assert.Equal(t, "\xff\x00\xfe", p.run(handle, `printf '\377\000\376'`).GetStdout())
	assert.EqualValues(t, 128+15, p.run(handle, "kill -TERM $$").GetExitStatus())
	assert.EqualValues(t, 128+9, p.run(handle, "sh -c 'kill -KILL $$'").GetExitStatus())
}

func TestEnvironmentOfJobs(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	root := p.info(handle).GetContainerPath() + "/rootfs"
	r := p.run(handle, `echo "$HOME $USER $LANG $PATH"; pwd -P`)
	assert.Equal(t, fmt.Sprintf("%[1]s/home/vcap vcap en_US.UTF-8 /bin:/usr/bin\n%[1]s/home/vcap\n", root), r.GetStdout())
	privileged := &protocol.RunRequest{Handle: handle, Script: proto.String(`echo "$USER $PATH"`), Privileged: proto.Bool(true)}
	assert.Equal(t, "root /sbin:/bin:/usr/sbin:/usr/bin\n", ask[*protocol.RunResponse](p, privileged).GetStdout())
	// The script is the input of the shell.
	assert.Equal(t, "first\necho eaten\n", p.run(handle, "echo first\ncat\necho eaten\n").GetStdout())
}

func TestLink(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	first, second := p.spawn(handle, "echo out; echo err >&2; exit 7"), p.spawn(handle, "true")
	assert.EqualValues(t, 1, *first)
	assert.EqualValues(t, 2, *second)
	link := &protocol.LinkRequest{Handle: handle, JobId: first}
	r := ask[*protocol.LinkResponse](p, link)
	assert.EqualValues(t, 7, r.GetExitStatus())
	assert.Equal(t, "out\n", r.GetStdout())
	assert.Equal(t, "err\n", r.GetStderr())
	assert.Equal(t, "active", r.GetInfo().GetState())
	assert.Equal(t, "no such job", p.refused(link))
	assert.Equal(t, "no such job", p.refused(&protocol.StreamRequest{Handle: handle, JobId: first}))
	assert.Equal(t, "no such job", p.refused(&protocol.LinkRequest{Handle: handle, JobId: proto.Uint32(99)}))

	other := p.create()
	assert.EqualValues(t, 3, *p.spawn(other, "true"), "ids are those of the server")
	assert.Equal(t, "no such job", p.refused(&protocol.LinkRequest{Handle: other, JobId: second}))
}

// TestTwoLinks connects by pipes, whose writes return when they were read: once the server has read what follows the
// Link, it has begun with that.
func TestTwoLinks(t *testing.T) {
	p, dial := pipes(t, warden.Config{Backend: processes(t, process.Options{})})
	handle := p.create()
	file := filepath.Join(p.info(handle).GetContainerPath(), "rootfs/home/vcap/go")
	job := p.spawn(handle, "while [ ! -e go ]; do sleep 0.01; done; exit 5")
	peers := []*peer{dial(), dial(), dial()}
	for _, other := range peers {
		other.send(&protocol.LinkRequest{Handle: handle, JobId: job})
		other.send(&protocol.PingRequest{})
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, other := range peers {
		assert.EqualValues(t, 5, got[*protocol.LinkResponse](other).GetExitStatus())
		got[*protocol.PingResponse](other)
	}
}

func TestLinkAfterALostConnection(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.spawn(handle, "echo kept; read line; sleep 0.2; exit 4")
	impatient := dial2(t, p)
	impatient.send(&protocol.LinkRequest{Handle: handle, JobId: job})
	require.NoError(t, impatient.conn.Close())
	r := ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: job})
	assert.EqualValues(t, 4, r.GetExitStatus())
	assert.Equal(t, "kept\n", r.GetStdout())
}

// streamed reads the answers to Stream up to the last one, and checks their form.
func streamed(p *peer) (out map[string]string, last *protocol.StreamResponse) {
	p.t.Helper()
	out = map[string]string{}
	for {
		r := got[*protocol.StreamResponse](p)
		if r.ExitStatus != nil {
			assert.Nil(p.t, r.Name)
			assert.Nil(p.t, r.Data)
			return out, r
		}
		assert.NotEmpty(p.t, r.GetData())
		assert.Nil(p.t, r.Info)
		out[r.GetName()] += r.GetData()
	}
}

func TestStream(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.spawn(handle, "echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c; exit 0")
	p.send(&protocol.StreamRequest{Handle: handle, JobId: job})
	out, last := streamed(p)
	assert.Equal(t, map[string]string{"stdout": "a\nc\n", "stderr": "b\n"}, out)
	assert.Zero(t, last.GetExitStatus())
	assert.Equal(t, "active", last.GetInfo().GetState())
	assert.Equal(t, "no such job", p.refused(&protocol.StreamRequest{Handle: handle, JobId: job}))
}

func TestStreamOfAnEndedJob(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.spawn(handle, "echo b >&2; echo a; exit 9")
	require.Eventually(t, func() bool { return len(p.info(handle).GetJobIds()) == 0 }, 20*time.Second, 5*time.Millisecond)
	p.send(&protocol.StreamRequest{Handle: handle, JobId: job})
	first, second, last := got[*protocol.StreamResponse](p), got[*protocol.StreamResponse](p), got[*protocol.StreamResponse](p)
	assert.Equal(t, "stdout a\n", first.GetName()+" "+first.GetData())
	assert.Equal(t, "stderr b\n", second.GetName()+" "+second.GetData())
	assert.EqualValues(t, 9, last.GetExitStatus())
}

// TestLossless sends what the original lost.
func TestLossless(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	const size = 3_000_001
	script := fmt.Sprintf("head -c %d /dev/zero; head -c 1000 /dev/zero >&2", size)
	assert.Len(t, p.run(handle, script).GetStdout(), size)
	p.send(&protocol.StreamRequest{Handle: handle, JobId: p.spawn(handle, script)})
	out, _ := streamed(p)
	assert.Len(t, out["stdout"], size)
	assert.Len(t, out["stderr"], 1000)
	assert.Len(t, ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: p.spawn(handle, script)}).GetStdout(), size)
}

func TestDiscardedOutput(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	script := proto.String("echo out; echo err >&2; head -c 20000000 /dev/zero; exit 6")
	spawn := func() *uint32 {
		return ask[*protocol.SpawnResponse](p, &protocol.SpawnRequest{Handle: handle, Script: script, DiscardOutput: proto.Bool(true)}).JobId
	}
	r := ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: spawn()})
	assert.EqualValues(t, 6, r.GetExitStatus(), "no limit is exceeded")
	assert.Empty(t, r.GetStdout()+r.GetStderr())
	p.send(&protocol.StreamRequest{Handle: handle, JobId: spawn()})
	out, last := streamed(p)
	assert.Empty(t, out)
	assert.EqualValues(t, 6, last.GetExitStatus())
}

func TestOutputLimit(t *testing.T) {
	p := start(t, warden.Config{JobOutputLimit: 5000})
	handle := p.create()
	assert.Len(t, p.run(handle, "head -c 2500 /dev/zero; head -c 2500 /dev/zero >&2").GetStdout(), 2500, "as much as is allowed")
	const tooMuch = "trap '' TERM; head -c 3000 /dev/zero >&2; cat /dev/zero"
	r := p.run(handle, tooMuch)
	assert.EqualValues(t, 255, r.GetExitStatus())
	assert.Len(t, r.GetStdout()+r.GetStderr(), 5000)
	assert.Equal(t, []string{"command exceeded maximum output"}, r.GetInfo().GetEvents())

	other := p.create()
	p.send(&protocol.StreamRequest{Handle: other, JobId: p.spawn(other, tooMuch)})
	_, last := streamed(p)
	assert.EqualValues(t, 255, last.GetExitStatus())
	assert.Equal(t, []string{"command exceeded maximum output"}, last.GetInfo().GetEvents())
	for range 2 { // the events are a set
		assert.Len(t, p.run(other, tooMuch).GetInfo().GetEvents(), 1)
	}
}

func TestRlimits(t *testing.T) {
	p := start(t, warden.Config{Rlimits: &protocol.ResourceLimits{Nofile: proto.Uint64(500), Core: proto.Uint64(0)}})
	handle := p.create()
	limited := func(r *protocol.ResourceLimits) []string {
		script := proto.String("ulimit -n; ulimit -c; ulimit -l; ulimit -i; ulimit -f")
		return strings.Fields(ask[*protocol.RunResponse](p, &protocol.RunRequest{Handle: handle, Script: script, Rlimits: r}).GetStdout())
	}
	before := limited(nil)
	assert.Equal(t, []string{"500", "0"}, before[:2])
	assert.Equal(t, []string{"400", "0", "32", "77", "3"}, limited(&protocol.ResourceLimits{
		Nofile: proto.Uint64(400), Memlock: proto.Uint64(32 << 10), Sigpending: proto.Uint64(77), Fsize: proto.Uint64(3 << 10),
	}))
	assert.Equal(t, before, limited(nil), "the next job has its own")
	// The script for bash counts in larger units.
	most := limited(&protocol.ResourceLimits{Memlock: proto.Uint64(math.MaxUint64 - 1), Sigpending: proto.Uint64(0)})
	assert.NotEqual(t, "0", most[2])
	assert.Equal(t, "0", most[3])
}

func TestLogTag(t *testing.T) {
	socket := filepath.Join(socketDir(t), "log")
	syslog, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer syslog.Close()
	p := start(t, warden.Config{SyslogSocket: socket})
	handle := p.create()
	r := ask[*protocol.RunResponse](p, &protocol.RunRequest{
		Handle: handle, Script: proto.String("echo one; printf two; echo err >&2"), LogTag: proto.String("my app"), DiscardOutput: proto.Bool(true),
	})
	assert.Empty(t, r.GetStdout())
	var lines []string
	for range 3 {
		line := make([]byte, 1000)
		require.NoError(t, syslog.SetReadDeadline(time.Now().Add(20*time.Second)))
		n, err := syslog.Read(line)
		require.NoError(t, err)
		lines = append(lines, string(line[:n]))
	}
	assert.ElementsMatch(t, []string{"<14>warden.my_app: one", "<14>warden.my_app: two", "<11>warden.my_app: err"}, lines)

	require.NoError(t, syslog.Close())
	r = ask[*protocol.RunResponse](p, &protocol.RunRequest{Handle: handle, Script: proto.String("echo kept"), LogTag: proto.String("x")})
	assert.Equal(t, "kept\n", r.GetStdout(), "without syslog")
}

// A syslog that takes nothing costs lines, not the time of the apps.
func TestLogTagOfASyslogThatHangs(t *testing.T) {
	socket := filepath.Join(socketDir(t), "log")
	syslog, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer syslog.Close()
	p := start(t, warden.Config{SyslogSocket: socket})
	r := ask[*protocol.RunResponse](p, &protocol.RunRequest{
		Handle: p.create(), Script: proto.String("seq 100000"), LogTag: proto.String("app"), DiscardOutput: proto.Bool(true),
	})
	assert.Zero(t, r.GetExitStatus())
}

func TestManyAtOnce(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	var wg sync.WaitGroup
	for n := range 6 {
		p := dial(t, r)
		wg.Go(func() {
			handle := p.create()
			for i := range 5 {
				assert.Equal(t, fmt.Sprintln(n, i), p.run(handle, fmt.Sprint("echo ", n, " ", i)).GetStdout())
			}
			ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
		})
	}
	wg.Wait()
	assert.Empty(t, ask[*protocol.ListResponse](dial(t, r), &protocol.ListRequest{}).GetHandles())
}
