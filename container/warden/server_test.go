package warden_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
)

func TestConfig(t *testing.T) {
	b := processes(t, process.Options{})
	for _, cfg := range []warden.Config{
		{},
		{Backend: b, JobOutputLimit: -1},
		{Backend: b, JobOutputLimit: protocol.MaxPayload},
		{Backend: b, DrainTime: -1},
		{Backend: b, AllowNetworks: []string{"10.0.0.0/8", "example.org"}},
		{Backend: b, AllowNetworks: []string{"10.0.0.9-10.0.0.1"}},
	} {
		_, err := warden.NewServer(cfg)
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", cfg)
	}
}

// TestListenIsNeverOpenToMore watches the socket come up: its permissions are not corrected afterwards.
func TestListenIsNeverOpenToMore(t *testing.T) {
	dir := socketDir(t)
	defer syscall.Umask(syscall.Umask(0))
	watch, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	require.NoError(t, err)
	defer syscall.Close(watch)
	_, err = syscall.InotifyAddWatch(watch, dir, syscall.IN_ATTRIB)
	require.NoError(t, err)
	l, err := warden.Listen(filepath.Join(dir, "sock"), 0o600)
	require.NoError(t, err)
	defer l.Close()
	info, err := os.Stat(filepath.Join(dir, "sock"))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	_, err = syscall.Read(watch, make([]byte, 4096))
	assert.ErrorIs(t, err, syscall.EAGAIN)
}

func TestListen(t *testing.T) {
	socket := filepath.Join(socketDir(t), "warden.sock")
	l, err := warden.Listen(socket, 0o640)
	require.NoError(t, err)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.EqualValues(t, 0o640, info.Mode().Perm())
	_, err = warden.Listen(socket, 0o640)
	require.ErrorContains(t, err, "another server answers")

	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had died
	require.NoError(t, l.Close())
	require.FileExists(t, socket)
	l, err = warden.Listen(socket, 0o600)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	_, err = warden.Listen(socket+strings.Repeat("x", 108-len(socket)), 0o600)
	require.ErrorContains(t, err, "at most 107")
	l, err = warden.Listen(socket+strings.Repeat("x", 107-len(socket)), 0o600)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(socket, []byte("precious"), 0o600))
	_, err = warden.Listen(socket, 0o600)
	require.ErrorContains(t, err, "no socket")
	assert.FileExists(t, socket)
}

func TestWithoutContainers(t *testing.T) {
	p := start(t, warden.Config{})
	assert.Nil(t, ask[*protocol.PingResponse](p, &protocol.PingRequest{}).Description)
	assert.Empty(t, ask[*protocol.ListResponse](p, &protocol.ListRequest{}).GetHandles())
	for _, text := range []string{"hi", "", "\xff\x00\xc2\x82", strings.Repeat("x", 3<<20)} {
		assert.Equal(t, text, ask[*protocol.EchoResponse](p, &protocol.EchoRequest{Message: &text}).GetMessage())
	}
	description := ask[*protocol.PingResponse](p, &protocol.PingRequest{Describe: proto.Bool(true)}).GetDescription()
	assert.Equal(t, "process", description.GetName())
	assert.Equal(t, "watched", description.GetMemory())
}

func TestOrder(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	file := filepath.Join(p.info(handle).GetContainerPath(), "rootfs/home/vcap/log")
	// All at once: the second begins when the first is answered.
	for _, script := range []string{"sleep 0.2; echo one >>log", "echo two >>log", "cat log"} {
		p.send(&protocol.RunRequest{Handle: handle, Script: &script})
	}
	p.send(&protocol.PingRequest{})
	got[*protocol.RunResponse](p)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Contains(t, string(content), "one\n")
	got[*protocol.RunResponse](p)
	assert.Equal(t, "one\ntwo\n", got[*protocol.RunResponse](p).GetStdout())
	got[*protocol.PingResponse](p)
}

func TestBadBytes(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	p := dial(t, r)
	_, err := p.conn.Write([]byte("4\r\n\x08\x63\x12\x00\r\n4\r\n\x08\x0b\x12\xff\r\n"))
	require.NoError(t, err)
	got[*protocol.ErrorResponse](p)
	got[*protocol.ErrorResponse](p)
	ask[*protocol.PingResponse](p, &protocol.PingRequest{})
	_, err = p.conn.Write([]byte("nonsense\r\n"))
	require.NoError(t, err)
	p.closed()
	ask[*protocol.PingResponse](dial(t, r), &protocol.PingRequest{})
}

func TestUnknownHandle(t *testing.T) {
	p := start(t, warden.Config{})
	gone, text := proto.String("gone"), proto.String("/x")
	for _, request := range []proto.Message{
		&protocol.StopRequest{Handle: gone}, &protocol.DestroyRequest{Handle: gone}, &protocol.InfoRequest{Handle: gone},
		&protocol.SpawnRequest{Handle: gone, Script: text}, &protocol.RunRequest{Handle: gone, Script: text},
		&protocol.LinkRequest{Handle: gone, JobId: proto.Uint32(1)}, &protocol.StreamRequest{Handle: gone, JobId: proto.Uint32(1)},
		&protocol.NetInRequest{Handle: gone}, &protocol.NetOutRequest{Handle: gone},
		&protocol.CopyInRequest{Handle: gone, SrcPath: text, DstPath: text},
		&protocol.CopyOutRequest{Handle: gone, SrcPath: text, DstPath: text},
		&protocol.LimitMemoryRequest{Handle: gone}, &protocol.LimitCpuRequest{Handle: gone}, &protocol.LimitDiskRequest{Handle: gone},
		&protocol.LimitBandwidthRequest{Handle: gone, Rate: proto.Uint64(1), Burst: proto.Uint64(1)},
	} {
		assert.Equal(t, "unknown handle", p.refused(request), "%T", request)
	}
}

func TestCreate(t *testing.T) {
	p := start(t, warden.Config{})
	mine := proto.String("mine")
	assert.Equal(t, "mine", ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: mine}).GetHandle())
	assert.Equal(t, "container with handle: mine already exists.", p.refused(&protocol.CreateRequest{Handle: mine}))

	first, second := *p.create(), *p.create()
	for _, handle := range []string{first, second} {
		assert.Regexp(t, regexp.MustCompile(`^[0-9a-v]{11}$`), handle)
	}
	assert.NotEqual(t, first, second)
	assert.ElementsMatch(t, []string{"mine", first, second}, ask[*protocol.ListResponse](p, &protocol.ListRequest{}).GetHandles())

	missing := &protocol.CreateRequest_BindMount{
		SrcPath: proto.String("/does/not/exist"), DstPath: proto.String("/x"), Mode: protocol.CreateRequest_BindMount_RO.Enum(),
	}
	assert.Equal(t, "Source path for bind mount does not exist: /does/not/exist",
		p.refused(&protocol.CreateRequest{BindMounts: []*protocol.CreateRequest_BindMount{missing}}))
	assert.Equal(t, "rootfs /does/not/exist not found", p.refused(&protocol.CreateRequest{Rootfs: missing.SrcPath}))
	assert.Equal(t, "Could not acquire network: 10.0.0.4", p.refused(&protocol.CreateRequest{Network: proto.String("10.0.0.4")}))
	assert.Contains(t, p.refused(&protocol.CreateRequest{Handle: proto.String("")}), "empty")
	assert.Contains(t, p.refused(&protocol.CreateRequest{Handle: proto.String("../x")}), "invalid request")
	assert.Len(t, ask[*protocol.ListResponse](p, &protocol.ListRequest{}).GetHandles(), 3)
}

func TestBindMounts(t *testing.T) {
	p := start(t, warden.Config{})
	dir := t.TempDir()
	mount := &protocol.CreateRequest_BindMount{
		SrcPath: &dir, DstPath: proto.String("/var/shared"), Mode: protocol.CreateRequest_BindMount_RW.Enum(),
	}
	handle := ask[*protocol.CreateResponse](p, &protocol.CreateRequest{BindMounts: []*protocol.CreateRequest_BindMount{mount}}).Handle
	assert.Zero(t, p.run(handle, "echo x >../../var/shared/file").GetExitStatus())
	assert.FileExists(t, filepath.Join(dir, "file"))
}

func TestInfo(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.spawn(handle, "head -c 2000000 /dev/zero >file; (i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); echo ready; sleep 1000")
	p.send(&protocol.StreamRequest{Handle: handle, JobId: job})
	assert.Equal(t, "ready\n", got[*protocol.StreamResponse](p).GetData())
	other := dial2(t, p)
	info := other.info(handle)
	assert.Equal(t, "active", info.GetState())
	assert.Empty(t, info.GetEvents())
	assert.Equal(t, []uint64{uint64(*job)}, info.GetJobIds())
	assert.Equal(t, "127.0.0.1", info.GetHostIp())
	assert.Equal(t, "127.0.0.1", info.GetContainerIp())
	assert.DirExists(t, filepath.Join(info.GetContainerPath(), "rootfs/home/vcap"))
	memory := info.GetMemoryStat()
	assert.Positive(t, memory.GetTotalRss()+memory.GetTotalCache()-memory.GetTotalInactiveFile())
	assert.EqualValues(t, 9223372036854771712, memory.GetHierarchicalMemoryLimit())
	assert.Greater(t, info.GetCpuStat().GetUsage(), uint64(1e6), "nanoseconds")
	assert.Greater(t, info.GetDiskStat().GetBytesUsed(), uint64(2000000-1))
	assert.EqualValues(t, 4294967295, info.GetBandwidthStat().GetInRate())
	ask[*protocol.StopResponse](other, &protocol.StopRequest{Handle: handle, Kill: proto.Bool(true)})
	info = other.info(handle)
	assert.Equal(t, "stopped", info.GetState())
	assert.Empty(t, info.GetJobIds())
}

// dial2 connects to the server of another peer.
func dial2(t testing.TB, p *peer) *peer {
	t.Helper()
	return dial(t, &running{socket: p.conn.RemoteAddr().String()})
}
