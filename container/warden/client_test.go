package warden_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerfs"
)

// connect returns a back end on a server, which is closed with the test.
func connect(t testing.TB, r *running, opts warden.Options) *warden.Backend {
	t.Helper()
	opts.Address = r.socket
	if opts.StateDir == "" {
		opts.StateDir = socketDir(t)
	}
	b, err := warden.New(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *warden.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

// TestConformance runs the suite over plain processes behind a server. In the tests of survival, server and client are
// killed together.
func TestConformance(t *testing.T) {
	shared := sync.OnceValue(func() *warden.Backend {
		return connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{})
	})
	containertest.Run(t, containertest.Config{
		StopGrace: stopGrace,
		New:       func(*testing.T) container.Backend { return shared() },
		Open: func(t *testing.T, dir string) container.Backend {
			b := processes(t, process.Options{Depot: filepath.Join(dir, "depot")})
			// Below dir, as what a killed process made elsewhere would be left.
			r := serveAt(t, warden.Config{Backend: b, StateDir: filepath.Join(dir, "server")}, filepath.Join(dir, "sock"))
			return connect(t, r, warden.Options{StateDir: filepath.Join(dir, "client")})
		},
	})
}

// TestConformanceWithoutAdditions runs the suite over a server that knows no more than the original.
func TestConformanceWithoutAdditions(t *testing.T) {
	caps := (&process.Backend{}).Capabilities()
	caps.Survives = false
	shared := sync.OnceValue(func() *warden.Backend {
		r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
		return connect(t, original(t, r), warden.Options{Capabilities: &caps})
	})
	containertest.Run(t, containertest.Config{
		StopGrace: stopGrace,
		Groups:    []string{"Life", "Run", "IO", "Limits", "Stop"}, // the additions are about ends, descriptions and figures
		New:       func(*testing.T) container.Backend { return shared() },
	})
}

// original stands before a server and keeps from it what the original does not know.
func original(t testing.TB, r *running) *running {
	t.Helper()
	socket := filepath.Join(socketDir(t), "original.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", r.socket)
			if err != nil {
				client.Close()
				continue
			}
			pass := func(from, to net.Conn, next func(*protocol.Reader) (proto.Message, error)) {
				defer to.Close()
				in := protocol.NewReader(from)
				for {
					m, err := next(in)
					if err != nil {
						return
					}
					fields := m.ProtoReflect().Descriptor().Fields()
					for _, number := range []protowire.Number{1000, 1001} {
						if f := fields.ByNumber(number); f != nil {
							m.ProtoReflect().Clear(f)
						}
					}
					if protocol.Write(to, m) != nil {
						return
					}
				}
			}
			work.Go(func() { pass(client, server, (*protocol.Reader).Request) })
			work.Go(func() { pass(server, client, (*protocol.Reader).Response) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.stop() // ends the connections
		work.Wait()
	})
	return &running{socket: socket, drain: func() {}, ended: r.ended}
}

func TestOptions(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	for _, opts := range []warden.Options{
		{}, {StateDir: socketDir(t), Timeout: -1}, {StateDir: socketDir(t), GraceTime: -1}, {StateDir: socketDir(t), GraceTime: 1 << 62},
	} {
		opts.Address = r.socket
		_, err := warden.New(t.Context(), opts)
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", opts)
	}
	_, err := warden.New(t.Context(), warden.Options{StateDir: socketDir(t), Address: r.socket + ".not"})
	require.ErrorIs(t, err, warden.ErrConnection)
	assert.ErrorContains(t, err, r.socket+".not")

	precious := socketDir(t)
	write(t, precious+"/file", "precious")
	_, err = warden.New(t.Context(), warden.Options{StateDir: precious, Address: r.socket})
	require.ErrorIs(t, err, warden.ErrNotState)
	assert.FileExists(t, precious+"/file")

	dir := filepath.Join(socketDir(t), "made", "here")
	first := connect(t, r, warden.Options{StateDir: dir})
	_, err = warden.New(t.Context(), warden.Options{StateDir: dir, Address: r.socket})
	require.ErrorIs(t, err, warden.ErrStateInUse)
	shut(t, first)
	shut(t, first)
	connect(t, r, warden.Options{StateDir: dir})
}

func TestShortGraceTime(t *testing.T) {
	state := t.TempDir()
	r := serve(t, warden.Config{Backend: processes(t, process.Options{}), StateDir: state})
	_, err := connect(t, r, warden.Options{GraceTime: time.Millisecond}).Create(t.Context(), container.Spec{Handle: "short"})
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(state, "short.warden.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"grace_time":1,`)
}

// TestConfusedServer meets a server that once answers something else than it is asked: its connection is used no more.
func TestConfusedServer(t *testing.T) {
	socket := filepath.Join(socketDir(t), "confused.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var made, lists atomic.Int32
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			made.Add(1)
			work.Go(func() {
				defer conn.Close()
				for in := protocol.NewReader(conn); ; {
					m, err := in.Request()
					if err != nil {
						return
					}
					var answer proto.Message = &protocol.PingResponse{}
					if _, ok := m.(*protocol.ListRequest); ok && lists.Add(1) != 2 {
						answer = &protocol.ListResponse{}
					}
					if protocol.Write(conn, answer) != nil {
						return
					}
				}
			})
		}
	})
	b, err := warden.New(t.Context(), warden.Options{StateDir: socketDir(t), Address: socket})
	require.NoError(t, err)
	before := made.Load()
	_, err = b.List(t.Context())
	require.ErrorIs(t, err, protocol.ErrFrame)
	_, err = b.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before+1, made.Load())
	require.NoError(t, b.Close(t.Context()))
	require.NoError(t, l.Close())
	work.Wait()
}

// TestDeafServer meets a server that accepts and says nothing.
func TestDeafServer(t *testing.T) {
	socket := filepath.Join(socketDir(t), "deaf.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer l.Close()
	_, err = warden.New(t.Context(), warden.Options{StateDir: socketDir(t), Address: socket, Timeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCapabilities(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	caps := connect(t, r, warden.Options{}).Capabilities()
	assert.Equal(t, container.Capabilities{Name: "warden over process", Memory: container.Watched, Survives: true}, caps)
	caps = connect(t, original(t, r), warden.Options{}).Capabilities()
	assert.Equal(t, "warden", caps.Name)
	assert.Equal(t, container.ByKernel, caps.Disk)
	assert.Empty(t, caps.PIDs, "the protocol has no request for it")
}

func create(t testing.TB, b container.Backend, spec container.Spec) container.Container {
	t.Helper()
	c, err := b.Create(context.Background(), spec)
	require.NoError(t, err)
	return c
}

func shell(script string) container.ProcessSpec {
	return container.ProcessSpec{Path: "sh", Args: []string{"-c", script}}
}

func output(t testing.TB, c container.Container, spec container.ProcessSpec) (out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p, err := c.Run(t.Context(), spec, container.IO{Stdout: &stdout, Stderr: &stderr})
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	return stdout.String(), stderr.String()
}

func TestForeignContainer(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	p := dial(t, r)
	handle := p.create()
	b := connect(t, r, warden.Options{})
	assert.Equal(t, []string{*handle}, handlesOf(t, b))
	c, err := b.Lookup(t.Context(), *handle)
	require.NoError(t, err)
	_, err = c.Run(t.Context(), shell("true"), container.IO{Stdout: new(bytes.Buffer)})
	require.ErrorIs(t, err, container.ErrUnsupported)
	process, err := c.Run(t.Context(), shell("echo x >file; exit 3"), container.IO{})
	require.NoError(t, err)
	status, err := process.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, status)
	content, err := containerfs.ReadFile(t.Context(), c, "/home/vcap/file", 10)
	require.NoError(t, err)
	assert.Equal(t, "x\n", string(content))
	_, err = containerfs.ReadFile(t.Context(), c, "/home/vcap/missing", 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, c.Destroy(t.Context()))
	assert.Equal(t, "unknown handle", p.refused(&protocol.InfoRequest{Handle: handle}))
}

// TestServerGoesAway drains a server under its client, and lets another one take over.
func TestServerGoesAway(t *testing.T) {
	cfg := warden.Config{Backend: processes(t, process.Options{}), StateDir: t.TempDir()}
	r := serve(t, cfg)
	b := connect(t, r, warden.Options{GraceTime: time.Second})
	c := create(t, b, container.Spec{Handle: "stays"})
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	var out bytes.Buffer
	p, err := c.Run(t.Context(), shell("echo before; while [ ! -e go ]; do sleep 0.01; done; echo after; exit 6"), container.IO{Stdout: &out})
	require.NoError(t, err)
	r.stop()
	_, err = c.Info(t.Context())
	require.ErrorIs(t, err, warden.ErrConnection)
	_, err = b.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, warden.ErrConnection)
	gone := create2(t, b)
	require.ErrorIs(t, gone, warden.ErrConnection)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, c.Destroy(ctx), "while there is no server")

	serveAt(t, cfg, r.socket)
	file, _ := info.OnHost("/home/vcap/go")
	write(t, file, "")
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 6, status)
	assert.Equal(t, "before\nafter\n", out.String())
	require.Eventually(t, func() bool { return create2(t, b) == nil }, 20*time.Second, 10*time.Millisecond)
}

func create2(t testing.TB, b container.Backend) error {
	c, err := b.Create(t.Context(), container.Spec{})
	if err == nil {
		err = c.Destroy(t.Context())
	}
	return err
}

// TestKeeper checks that an idle client keeps its containers, and a closed one does not.
func TestKeeper(t *testing.T) {
	plain := processes(t, process.Options{})
	cfg := warden.Config{Backend: plain, StateDir: t.TempDir()}
	r := serve(t, cfg)
	var log lines
	b := connect(t, r, warden.Options{GraceTime: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 12 { // more than there are idle connections
		create(t, b, container.Spec{})
	}
	r.stop()
	r = serveAt(t, cfg, r.socket)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "warden.connection.restored") }, 20*time.Second, time.Millisecond)
	// As long as a container could live without a connection, and half as long again.
	other := dial(t, r)
	ask[*protocol.CreateResponse](other, &protocol.CreateRequest{Handle: proto.String("clock"), GraceTime: proto.Uint32(1)})
	other.run(proto.String("clock"), "sleep 1.5")
	assert.Len(t, handlesOf(t, plain), 13)
	require.NoError(t, other.conn.Close())
	require.Eventually(t, func() bool { return len(handlesOf(t, plain)) == 12 }, 20*time.Second, 10*time.Millisecond)
	shut(t, b)
	require.Eventually(t, func() bool { return len(handlesOf(t, plain)) == 0 }, 20*time.Second, 10*time.Millisecond)
}

// lines are a log that is read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestCloseWhileWaiting(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	dir := socketDir(t)
	b := connect(t, r, warden.Options{StateDir: dir})
	c := create(t, b, container.Spec{Handle: "stays", Properties: map[string]string{"owner": "test"}})
	var out bytes.Buffer
	p, err := c.Run(t.Context(), shell("while [ ! -e go ]; do sleep 0.01; done; exit 9"), container.IO{Stdout: &out})
	require.NoError(t, err)
	waited := make(chan error)
	go func() {
		_, err := p.Wait(context.Background())
		waited <- err
	}()
	shut(t, b)
	require.ErrorIs(t, <-waited, warden.ErrClosed)
	_, err = b.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, warden.ErrClosed)

	next := connect(t, r, warden.Options{StateDir: dir})
	c, err = next.Lookup(t.Context(), "stays")
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"owner": "test"}, info.Properties)
	assert.Equal(t, []uint32{1}, info.Processes)
	file, _ := info.OnHost("/home/vcap/go")
	write(t, file, "")
	p, err = c.Attach(t.Context(), 1, container.IO{})
	require.NoError(t, err)
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 9, status)
}

// TestVariablesOfTheShell passes variables that mean something to the shell in between.
func TestVariablesOfTheShell(t *testing.T) {
	b := connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{})
	c := create(t, b, container.Spec{})
	env := []string{
		"UID=5", "PWD=/x", "OLDPWD=", "SHLVL=9", "_=under", "RANDOM=1", "SECONDS=2", "LC_ALL=xx_YY", "LANG=zz", "BASH_ENV=/etc/shadow",
		"POSIXLY_CORRECT=1", "SHELLOPTS=xtrace", "IFS=/", "PATH=/usr/bin:/bin", "CDPATH=/", "HOME=/tmp/h", "PS4=$(id)", "EXECIGNORE=*",
		"A='; id; '", "B=\n", "C=$(id)`id`\\", "D=\xff\x01", "BASH_FUNC_x%%=() { :; }", "1=2", "TIMEFORMAT=%", "PROMPT_COMMAND=id",
	}
	out, errs := output(t, c, container.ProcessSpec{Path: "env", Args: []string{"-0"}, Env: append([]string{"DEAKIT_CONTAINER=x"}, env...)})
	assert.Empty(t, errs)
	got := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	own := got[:0]
	for _, entry := range got {
		if strings.HasPrefix(entry, "DEAKIT_CONTAINER=") {
			assert.NotEqual(t, "DEAKIT_CONTAINER=x", entry)
			continue
		}
		own = append(own, entry)
	}
	assert.ElementsMatch(t, append(env, "USER=vcap"), own)
}

func TestStreamInKeepsTheModeOfTheDirectory(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	var c container.Container
	for _, server := range []*running{r, original(t, r)} {
		c = create(t, connect(t, server, warden.Options{}), container.Spec{})
		_, errs := output(t, c, shell("mkdir d; chmod 705 d"))
		require.Empty(t, errs)
		for _, dir := range []string{"/home/vcap/d", "/home/vcap/new"} {
			require.NoError(t, containerfs.WriteFiles(t.Context(), c, dir, containerfs.Text("file", []byte("x"))))
		}
		out, _ := output(t, c, shell("stat -c %a d d/file new"))
		assert.Equal(t, "705\n644\n755\n", out)
	}
	err := c.StreamIn(t.Context(), "/tmp", "root", strings.NewReader(""))
	require.ErrorIs(t, err, container.ErrUnsupported)
}

func TestUnsupportedProcesses(t *testing.T) {
	b := connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{})
	c := create(t, b, container.Spec{})
	for _, spec := range []container.ProcessSpec{
		{Path: "/a=b"}, {Path: "-x"}, {Path: "true", User: "daemon"},
	} {
		_, err := c.Run(t.Context(), spec, container.IO{})
		assert.ErrorIs(t, err, container.ErrUnsupported, "%+v", spec)
	}
	for _, spec := range []container.ProcessSpec{{}, {Path: "a\x00"}, {Path: "true", Args: []string{"\x00"}}, {Path: "true", Dir: "/\x00"}} {
		_, err := c.Run(t.Context(), spec, container.IO{})
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", spec)
	}
	_, err := c.Run(t.Context(), container.ProcessSpec{Path: "true", Env: []string{"hunter2"}}, container.IO{})
	require.ErrorIs(t, err, container.ErrInvalid)
	assert.NotContains(t, err.Error(), "hunter2")
}

// TestNothingIsLeft looks at the state directory after all is over.
func TestNothingIsLeft(t *testing.T) {
	dir := socketDir(t)
	b := connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{StateDir: dir})
	c := create(t, b, container.Spec{Handle: "one"})
	exchange := filepath.Join(dir, "one", "exchange")
	p, err := c.Run(t.Context(), shell("cat; sleep 1000"), container.IO{Stdin: strings.NewReader("x"), Stdout: io.Discard, Stderr: io.Discard})
	require.NoError(t, err)
	assert.Empty(t, readDir(t, exchange), "the pipes have no names any more")
	_, err = c.Run(t.Context(), container.ProcessSpec{Path: "missing"}, container.IO{Stdout: io.Discard})
	require.Error(t, err)
	assert.Empty(t, readDir(t, exchange))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Run(ctx, shell("true"), container.IO{Stdout: io.Discard})
	require.ErrorIs(t, err, context.Canceled)
	stream, err := c.StreamOut(t.Context(), "/home/vcap")
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	assert.Empty(t, readDir(t, filepath.Join(dir, ".copies")))
	require.NoError(t, c.Destroy(t.Context()))
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{".lock", ".copies"}, readDir(t, dir))
}
