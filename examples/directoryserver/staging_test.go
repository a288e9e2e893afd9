package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
)

// A follower reads the log of a staging task as cfoundry does: it waits for data only so long, comes back with the number of bytes
// that it has, and ends at the first status that is not 200.
type follower struct {
	address, host string
	connections   atomic.Int32
	log           bytes.Buffer
}

const readTimeout = time.Second // five in cfoundry

// follow returns the status and the body at which it ended.
func (f *follower) follow(ctx context.Context) (status int, body string, err error) {
	for {
		status, body, err = f.once(ctx)
		if err != nil || status != http.StatusOK {
			return status, body, err
		}
	}
}

// once is one connection. The end of the body, however it comes, is no error.
func (f *follower) once(ctx context.Context) (status int, body string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	address := f.address + "&tail&tail_offset=" + strconv.Itoa(f.log.Len())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	request.Host = f.host
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	f.connections.Add(1)
	if response.StatusCode != http.StatusOK {
		data, err := io.ReadAll(response.Body)
		return response.StatusCode, string(data), err
	}
	impatience := time.AfterFunc(readTimeout, cancel)
	defer impatience.Stop()
	for buf := make([]byte, 100); ; { // small: the connection may end anywhere
		n, err := response.Body.Read(buf)
		f.log.Write(buf[:n])
		if err != nil {
			return http.StatusOK, "", nil
		}
		impatience.Reset(readTimeout)
	}
}

// A staging log by the URL of the first answer: every byte once, through silence and reconnects and to the last line; readable
// for a while after the last answer, and then 404, at which clients stop.
func TestStagingLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o600))
	lines := `i=0; while [ $i -lt 500 ]; do echo "step $i of many"; i=$((i+1)); done`
	s.serve("/package", stagetest.Files{"hello.txt": "hello"}.Zip(t))
	s.serve("/buildpack", stagetest.Scripts("echo Silent", lines+"; cat "+gate+"; "+lines, `echo "default_process_types: {web: run}"`).Zip(t))
	s.blobs.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s.startServer()
	s.startDEA()
	answers := make(chan *nats.Msg, 2)
	inbox := nats.NewInbox()
	_, err := s.Peer.ChanSubscribe(inbox, answers)
	require.NoError(t, err)
	request, err := json.Marshal(object{
		"app_id": "app-1", "task_id": "task-1", "properties": object{"services": []any{}},
		"download_uri": s.url + "/package", "upload_uri": s.url + "/upload",
		"admin_buildpacks": []object{{"key": "silent", "url": s.url + "/buildpack"}},
	})
	require.NoError(t, err)
	require.NoError(t, s.Peer.PublishRequest("staging."+s.Await("staging.advertise", nil)["id"].(string)+".start", inbox, request))
	next := func() (answer object) {
		select {
		case msg := <-answers:
			require.NoError(t, json.Unmarshal(msg.Data, &answer))
		case <-time.After(patience):
			t.Fatal("no answer")
		}
		require.Nil(t, answer["error"])
		return answer
	}
	signed := next()["task_streaming_log_url"].(string)
	assert.Regexp(t, `^http://dea-3-files\.example\.com/staging_tasks/task-1/file_path\?hmac=[0-9a-f]{128}&path=%2Ftmp%2Fstaged%2Flogs%2Fstaging_task\.log&timestamp=\d+$`, signed)

	f := &follower{}
	f.address, f.host = s.route(signed)
	type end struct {
		status int
		body   string
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		status, body, err := f.follow(t.Context())
		ended <- end{status, body, err}
	}()
	require.Eventually(t, func() bool { return f.connections.Load() >= 2 }, patience, 10*time.Millisecond, "it loses patience while the buildpack is silent")
	require.NoError(t, os.WriteFile(gate, nil, 0)) // the buildpack goes on
	next()
	response, whole := s.get(signed)
	assert.Equal(t, http.StatusOK, response.StatusCode, "after the last answer")
	assert.Contains(t, whole, "step 499 of many\n-----> Uploading droplet")
	select {
	case e := <-ended:
		require.NoError(t, e.err)
		assert.Equal(t, http.StatusNotFound, e.status)
		assert.JSONEq(t, `{"error":"Unknown staging task"}`, e.body)
	case <-time.After(patience):
		t.Fatal("the follower does not end")
	}
	assert.Equal(t, whole, f.log.String(), fmt.Sprintf("over %d connections", f.connections.Load()))
	assert.Greater(t, f.connections.Load(), int32(2))
	response, _ = s.get(signed)
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}
