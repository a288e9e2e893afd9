package garden_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/garden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A script answers requests in the order of a table, and remembers them.
type script struct {
	answers map[string]http.HandlerFunc

	mu   sync.Mutex
	seen []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	request := r.Method + " " + r.URL.RequestURI()
	s.mu.Lock()
	s.seen = append(s.seen, strings.TrimSpace(request+" "+string(body)))
	s.mu.Unlock()
	answer := s.answers[r.Method+" "+r.URL.EscapedPath()]
	if answer == nil {
		answer = says(200, "{}")
	}
	answer(w, r)
}

func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// stream answers as Garden does: headers, and then no HTTP any more.
func stream(status int, work func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		work(conn)
	}
}

func connect(t *testing.T, s *script, opts garden.Options) *garden.Backend {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	opts.Network, opts.Address = "tcp", server.Listener.Addr().String()
	b, err := garden.New(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, b.Close(ctx))
	})
	return b
}

func TestCreateRequest(t *testing.T) {
	s := &script{}
	b := connect(t, s, garden.Options{GraceTime: 5 * time.Minute})
	_, err := b.Create(t.Context(), container.Spec{
		Handle: "app-7f", RootFS: "/var/stacks/base", Env: []string{"LANG=C.UTF-8", "A=b"},
		BindMounts: []container.BindMount{{Src: "/srv/x", Dst: "/droplet"}, {Src: "/srv/y", Writable: true}},
		Limits:     container.Limits{CPUShares: 128, DiskBytes: 1 << 30, DiskInodes: 9, MemoryBytes: 128 << 20, PIDs: 512},
		Properties: map[string]string{"owner": "me"},
	})
	require.NoError(t, err)
	requests := s.requests()
	require.Len(t, requests, 2)
	assert.Equal(t, "GET /ping", requests[0])
	assert.JSONEq(t, `{"handle":"app-7f","grace_time":300000000000,"image":{"uri":"/var/stacks/base"},
		"bind_mounts":[{"src_path":"/srv/x","dst_path":"/droplet"},{"src_path":"/srv/y","dst_path":"/srv/y","mode":1}],
		"env":["PATH=/usr/local/bin:/usr/bin:/bin","LANG=C.UTF-8","A=b"],
		"properties":{"owner":"me","deakit.limits":"{\"MemoryBytes\":134217728,\"DiskBytes\":1073741824,\"DiskInodes\":9,\"CPUShares\":128,\"CPUQuota\":0,\"PIDs\":512,\"Bandwidth\":null}"},
		"limits":{"bandwidth_limits":{},"cpu_limits":{"weight":128},"disk_limits":{"byte_hard":1073741824,"inode_hard":9,"scope":1},
			"memory_limits":{"limit_in_bytes":134217728},"pid_limits":{"max":512}}}`,
		strings.TrimPrefix(requests[1], "POST /containers "))

	for _, spec := range []container.Spec{
		{Env: []string{"A=\xff"}}, {Properties: map[string]string{"a": "\xff"}},
	} {
		_, err := b.Create(t.Context(), spec)
		require.ErrorIs(t, err, container.ErrUnsupported)
	}
	_, err = b.Create(t.Context(), container.Spec{Properties: map[string]string{"deakit.x": ""}})
	require.ErrorIs(t, err, container.ErrInvalid)
	assert.Len(t, s.requests(), 2)
}

func TestRoutes(t *testing.T) {
	s := &script{answers: map[string]http.HandlerFunc{
		"GET /containers":           says(200, `{"Handles":["a","b"]}`),
		"POST /containers/h/net/in": says(200, `{"host_port":61001,"container_port":8080}`),
		"GET /containers/h/metrics": says(200, `{"MemoryStat":{"TotalUsageTowardLimit":5},"CPUStat":{"Usage":6},"DiskStat":{"ExclusiveBytesUsed":7},"PidStat":{"Current":8}}`),
		"GET /containers/h/files":   says(200, string(make([]byte, 1024))),
		"GET /containers/h/info": says(200, `{"State":"active","Events":["Out of memory"],"HostIP":"10.0.0.1","ContainerIP":"10.0.0.2","ExternalIP":"192.0.2.1",
			"ProcessIDs":["2","1","x"],"Properties":{"owner":"me","deakit.last":"4"},"MappedPorts":[{"HostPort":61001,"ContainerPort":8080}]}`),
	}}
	b := connect(t, s, garden.Options{})
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, handles)
	c, err := b.Lookup(t.Context(), "h")
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, container.Info{
		State: container.StateActive, Events: []string{container.EventOutOfMemory}, HostIP: "192.0.2.1", ContainerIP: "10.0.0.2",
		Ports: []container.PortMapping{{HostPort: 61001, ContainerPort: 8080}}, Processes: []uint32{1, 2}, Properties: map[string]string{"owner": "me"},
	}, info)
	m, err := c.NetIn(t.Context(), 0, 8080)
	require.NoError(t, err)
	assert.Equal(t, container.PortMapping{HostPort: 61001, ContainerPort: 8080}, m)
	u, err := c.Usage(t.Context())
	require.NoError(t, err)
	assert.Equal(t, [4]int64{5, 6, 7, 8}, [4]int64{u.MemoryBytes, int64(u.CPUTime), u.DiskBytes, int64(u.Processes)})
	require.NoError(t, c.StreamIn(t.Context(), "/a b", "", strings.NewReader("tar")))
	out, err := c.StreamOut(t.Context(), "/a/")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, c.Stop(t.Context(), true))
	require.NoError(t, c.Destroy(t.Context()))
	var changes []string
	for _, r := range s.requests() {
		if !strings.HasSuffix(r, "/info") {
			changes = append(changes, r)
		}
	}
	assert.Equal(t, []string{
		"GET /ping", "GET /containers", `POST /containers/h/net/in {"handle":"h","container_port":8080}`, "GET /containers/h/metrics",
		"PUT /containers/h/files?destination=%2Fa+b&user=vcap tar", "GET /containers/h/files?source=%2Fa%2F&user=root",
		`PUT /containers/h/properties/deakit.stopped {"value":"true"}`, `PUT /containers/h/stop {"kill":true}`, "DELETE /containers/h",
	}, changes)
}

func TestNetOut(t *testing.T) {
	s := &script{}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	eight, zero, any, large := 8, 0, -1, 264
	for want, rule := range map[string]container.EgressRule{
		`{}`: {Protocol: container.AllProtocols},
		`{"protocol":1,"networks":[{"start":"10.0.0.0","end":"10.0.0.255"}],"ports":[{"start":443,"end":443}]}`: {
			Protocol: container.TCP, Network: "10.0.0.9/24", Ports: "443"},
		`{"protocol":2,"networks":[{"start":"10.0.0.1","end":"10.0.0.1"}],"ports":[{"start":8000,"end":8010}],"log":true}`: {
			Protocol: container.UDP, Network: "10.0.0.1", Ports: "8000:8010", Log: true},
		`{"protocol":3,"networks":[{"start":"10.0.0.1","end":"10.0.1.2"}],"icmps":{"type":8,"code":0}}`: {
			Protocol: container.ICMP, Network: "10.0.0.1-10.0.1.2", ICMPType: &eight, ICMPCode: &zero},
		`{"protocol":3,"icmps":{"type":8}}`: {Protocol: container.ICMP, ICMPType: &eight, ICMPCode: &any},
		`{"protocol":3}`:                    {Protocol: container.ICMP, ICMPType: &any},
		`{"networks":[{"start":"2001:db8::","end":"2001:db8::ffff"}]}`: {
			Protocol: container.AllProtocols, Network: "2001:db8::/112"},
	} {
		require.NoError(t, c.NetOut(t.Context(), rule), want)
		requests := s.requests()
		assert.JSONEq(t, want, strings.TrimPrefix(requests[len(requests)-1], "POST /containers/h/net/out "))
	}
	for _, rule := range []container.EgressRule{
		{}, {Protocol: container.TCP, Network: "x"}, {Protocol: container.TCP, Network: "10.0.0.2-10.0.0.1"}, {Protocol: container.TCP, Network: "10.0.0.1-"},
		{Protocol: container.TCP, Ports: "9:8"}, {Protocol: container.TCP, Ports: "80:"}, {Protocol: container.TCP, Ports: "70000"},
		{Protocol: container.ICMP, ICMPType: &large}, {Protocol: container.ICMP, ICMPType: &eight, ICMPCode: &large},
		{Protocol: container.TCP, Network: "10.0.0.1-2001:db8::1"},
	} {
		assert.ErrorIs(t, c.NetOut(t.Context(), rule), container.ErrInvalid, "%+v", rule)
	}
}

func TestErrors(t *testing.T) {
	for body, want := range map[string]error{
		`{"Type":"ContainerNotFoundError","Message":"unknown handle: h","Handle":"h"}`: container.ErrNotFound,
		`{"Type":"","Message":"container already being destroyed"}`:                    container.ErrNotFound,
		`{"Type":"ProcessNotFoundError","Message":"unknown process: 3"}`:               container.ErrNotFound,
		`{"Type":"ExecutableNotFoundError","Message":"exec: x"}`:                       fs.ErrNotExist,
		`{"Type":"","Message":"tar: /x: Cannot stat: No such file or directory"}`:      fs.ErrNotExist,
		`{"Type":"","Message":"Handle 'h' already in use"}`:                            container.ErrExists,
		`no JSON`: nil,
		``:        nil,
	} {
		s := &script{answers: map[string]http.HandlerFunc{"GET /containers/h/info": says(500, body)}}
		_, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
		var refused *garden.ServerError
		require.ErrorAs(t, err, &refused, body)
		assert.Equal(t, 500, refused.Status)
		if want != nil {
			assert.ErrorIs(t, err, want)
		}
	}
	s := &script{answers: map[string]http.HandlerFunc{"GET /containers": says(200, "{")}}
	_, err := connect(t, s, garden.Options{}).List(t.Context())
	require.ErrorContains(t, err, "GET /containers")
	_, err = garden.New(t.Context(), garden.Options{Address: t.TempDir() + "/missing.sock"})
	require.ErrorIs(t, err, garden.ErrConnection)
	_, err = garden.New(t.Context(), garden.Options{Timeout: -1})
	require.ErrorIs(t, err, container.ErrInvalid)
}

// TestOutputAfterTheEnd sends the exit status before the output, as the server may.
func TestOutputAfterTheEnd(t *testing.T) {
	read := make(chan struct{})
	var input bytes.Buffer
	inputRead := make(chan struct{})
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			fmt.Fprintln(conn, `{"process_id":"p1","stream_id":"17"}`)
			line, _ := io.ReadAll(io.LimitReader(conn, int64(len(`{"process_id":"p1","source":0}`)+1)))
			input.Write(line)
			close(inputRead)
			fmt.Fprintln(conn, `{"process_id":"p1","exit_status":3}`)
			<-read
		}),
		"GET /containers/h/processes/p1/attaches/17/stdout": stream(200, func(conn net.Conn) {
			<-inputRead
			fmt.Fprint(conn, "late")
			<-read
			fmt.Fprint(conn, " and later")
		}),
	}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	out := &notifying{at: "late", seen: make(chan struct{})}
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{Stdout: out})
	require.NoError(t, err)
	<-out.seen
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Wait(ended)
	require.ErrorIs(t, err, context.Canceled, "output is missing")
	close(read)
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, status)
	assert.Equal(t, "late and later", out.String())
	var said map[string]any
	require.NoError(t, json.Unmarshal(input.Bytes(), &said))
	assert.Equal(t, map[string]any{"process_id": "p1", "source": 0.0}, said, "there is no input")
}

// notifying closes seen when its text is complete.
type notifying struct {
	bytes.Buffer
	at   string
	seen chan struct{}
}

func (n *notifying) Write(p []byte) (int, error) {
	k, err := n.Buffer.Write(p)
	if n.String() == n.at {
		close(n.seen)
	}
	return k, err
}

func TestLostStream(t *testing.T) {
	for name, last := range map[string]string{"closed": "", "error": `{"process_id":"p1","error":"no idea"}`, "garbage": "}{"} {
		s := &script{answers: map[string]http.HandlerFunc{
			"POST /containers/h/processes": stream(201, func(conn net.Conn) {
				fmt.Fprintln(conn, `{"process_id":"p1","stream_id":"17"}`)
				fmt.Fprint(conn, last)
			}),
		}}
		c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
		require.NoError(t, err)
		p, err := c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{})
		require.NoError(t, err)
		_, err = p.Wait(t.Context())
		assert.ErrorIs(t, err, container.ErrStatusUnknown, name)
	}
	s := &script{answers: map[string]http.HandlerFunc{"POST /containers/h/processes": stream(201, func(net.Conn) {})}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	_, err = c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{})
	require.ErrorIs(t, err, garden.ErrConnection)
}

// TestTruncatedArchive ends a stream as the server does when it fails half way.
func TestTruncatedArchive(t *testing.T) {
	s := &script{answers: map[string]http.HandlerFunc{"GET /containers/h/files": says(200, strings.Repeat("x", 5000)+string(make([]byte, 1023)))}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	out, err := c.StreamOut(t.Context(), "/x")
	require.NoError(t, err)
	defer out.Close()
	_, err = io.Copy(io.Discard, out)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// TestRunIsCancelled lets the server answer when nobody waits for it any more.
func TestRunIsCancelled(t *testing.T) {
	begun, cancelled, killed := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			close(begun)
			<-cancelled
			fmt.Fprintln(conn, `{"process_id":"p1","stream_id":"17"}`)
			said, _ := io.ReadAll(conn)
			killed <- string(said)
		}),
	}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	_, err = c.Run(ctx, container.ProcessSpec{Path: "true"}, container.IO{})
	require.ErrorIs(t, err, context.Canceled)
	close(cancelled)
	assert.JSONEq(t, `{"process_id":"p1","signal":1}`, <-killed)
}
