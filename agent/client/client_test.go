package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an agent that answers with what it was given, one reply after the other, and keeps what it was asked. A reply
// that begins with "!" is a failure on the way.
type script struct {
	mu      sync.Mutex
	replies []string
	asked   []string
}

func (s *script) Do(_ context.Context, request messaging.AgentRequest) (messaging.AgentReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := json.Marshal(request)
	if err != nil {
		return messaging.AgentReply{}, err
	}
	s.asked = append(s.asked, string(body))
	if len(s.replies) == 0 {
		return messaging.AgentReply{}, errors.New("nothing more to say")
	}
	next := s.replies[0]
	s.replies = s.replies[1:]
	if failure, ok := strings.CutPrefix(next, "!"); ok {
		return messaging.AgentReply{}, errors.New(failure)
	}
	return messaging.AgentCall("x").DecodeAnswer([]byte(next))
}

func scripted(replies ...string) (*client.Client, *script) {
	s := &script{replies: replies}
	return client.New(client.Config{Transport: s, ReplyTo: "d", PollDelay: time.Nanosecond}), s
}

const (
	runningReply = `{"value":{"state":"running","agent_task_id":"T"}}`
	getTask      = `{"method":"get_task","arguments":["T"],"reply_to":"d"}`
)

// Every method sends exactly the body of the public client, and reads the answers of agents.
func TestBodies(t *testing.T) {
	ctx := t.Context()
	spec := client.ApplySpec{
		Deployment: "dep", Name: "n", ID: "id", AZ: "z1",
		Packages:          map[string]client.BlobRef{"p": {Name: "p", Version: "1", SHA1: "s", BlobID: "b"}},
		Job:               client.JobSpec{Name: "j", Templates: []client.BlobRef{{Name: "t", Version: "2", SHA1: "u", BlobID: "c"}}},
		RenderedTemplates: client.ArchiveRef{BlobID: "r", SHA1: "v"}, ConfigurationHash: "h",
	}
	const specBody = `{"deployment":"dep","name":"n","index":0,"id":"id","az":"z1","packages":{"p":{"name":"p","version":"1","sha1":"s",` +
		`"blobstore_id":"b"}},"networks":{},"job":{"name":"j","templates":[{"name":"t","version":"2","sha1":"u","blobstore_id":"c"}]},` +
		`"rendered_templates_archive":{"blobstore_id":"r","sha1":"v"},"configuration_hash":"h"}`
	compile := func(c *client.Client) (any, error) {
		return c.CompilePackage(ctx, client.BlobRef{BlobID: "blob", SHA1: "sha1", Name: "name", Version: "version"},
			map[string]client.BlobRef{"q": {Name: "name", Version: "version", SHA1: "sha1", BlobID: "blobstore_id"}})
	}
	nothing := func(err error) (any, error) { return nil, err }
	for _, c := range []struct {
		call      func(*client.Client) (any, error)
		method    string
		arguments string
		task      bool
		value     string
		want      any
	}{
		{func(c *client.Client) (any, error) { return nothing(c.Ping(ctx)) }, "ping", `[]`, false, `"pong"`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.StopJobs(ctx)) }, "stop", `[]`, true, `"stopped"`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.StartJobs(ctx)) }, "start", `[]`, false, `"started"`, nil},
		{func(c *client.Client) (any, error) { return c.Drain(ctx, "shutdown", nil) }, "drain", `["shutdown",{}]`, true, `-3`, -3},
		{func(c *client.Client) (any, error) { s, err := c.State(ctx); return s.JobState, err }, "get_state", `[]`, false,
			`{"job_state":"running","networks":{"default":{"ip":"10.0.0.1"}},"index":"","job":"","vm":{"name":"x"}}`, messaging.JobState("running")},
		{func(c *client.Client) (any, error) { s, err := c.FullState(ctx); return s.Networks["default"].IP, err }, "get_state", `["full"]`, false,
			`{"networks":{"default":{"ip":"10.0.0.1","extra":[]}},"index":null,"job":{}}`, "10.0.0.1"},
		{func(c *client.Client) (any, error) { return nothing(c.Apply(ctx, spec)) }, "apply", `[` + specBody + `]`, true, `"applied"`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.Prepare(ctx, spec)) }, "prepare", `[` + specBody + `]`, true, `"prepared"`, nil},
		{func(c *client.Client) (any, error) { return c.ListDisk(ctx) }, "list_disk", `[]`, false, `["a","b"]`, []string{"a", "b"}},
		{func(c *client.Client) (any, error) { return nothing(c.MountDisk(ctx, "d1")) }, "mount_disk", `["d1"]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.UnmountDisk(ctx, "d1")) }, "unmount_disk", `["d1"]`, true, `{"message":"m"}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.MigrateDisk(ctx)) }, "migrate_disk", `[]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.MigrateDisk(ctx, "o", "n")) }, "migrate_disk", `["o","n"]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.AddPersistentDisk(ctx, "d1", "/dev/sdx")) }, "add_persistent_disk",
			`["d1","/dev/sdx"]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) {
			return nothing(c.AddPersistentDisk(ctx, "d1", map[string]string{"path": "/dev/sdx", "id": "7"}))
		}, "add_persistent_disk", `["d1",{"id":"7","path":"/dev/sdx"}]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.RemovePersistentDisk(ctx, "d1")) }, "remove_persistent_disk", `["d1"]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.AddDynamicDisk(ctx, "d1", "x")) }, "add_dynamic_disk", `["d1","x"]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.RemoveDynamicDisk(ctx, "d1")) }, "remove_dynamic_disk", `["d1"]`, false, `{}`, nil},
		{compile, "compile_package",
			`["blob","sha1","name","version",{"q":{"name":"name","version":"version","sha1":"sha1","blobstore_id":"blobstore_id"}}]`, true,
			`{"result":{"sha1":"s","blobstore_id":"b"}}`, client.Compiled{BlobID: "b", SHA1: "s"}},
		{func(c *client.Client) (any, error) { return nothing(c.DeleteARPEntries(ctx, []string{"1.1.1.1"})) }, "delete_arp_entries",
			`[{"ips":["1.1.1.1"]}]`, false, `{}`, nil},
		{func(c *client.Client) (any, error) { return c.SyncDNS(ctx, "b", "s", 4) }, "sync_dns", `["b","s",4]`, false, `"synced"`, "synced"},
		{func(c *client.Client) (any, error) {
			return c.SyncDNSWithSignedURL(ctx, client.SignedDNS{URL: "u", Digest: "d", Version: 18446744073709551615})
		}, "sync_dns_with_signed_url", `[{"signed_url":"u","multi_digest":"d","version":18446744073709551615}]`, false, `"synced"`, "synced"},
		{func(c *client.Client) (any, error) { return nothing(c.RunScript(ctx, "pre-start", nil)) }, "run_script", `["pre-start",{}]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) {
			return nothing(c.RunScript(ctx, "s", map[string]string{"K": "V"}))
		}, "run_script",
			`["s",{"env":{"K":"V"}}]`, true, `{}`, nil},
		{func(c *client.Client) (any, error) { return c.RunErrand(ctx, "e") }, "run_errand", `["e"]`, true,
			`{"exit_code":3,"stdout":"o","stderr":"e"}`, client.Errand{ExitCode: 3, Stdout: "o", Stderr: "e"}},
		{func(c *client.Client) (any, error) { return c.RunErrand(ctx, "") }, "run_errand", `[]`, true, `{}`, client.Errand{}},
		{func(c *client.Client) (any, error) { return c.SetUpSSH(ctx, "u", "k") }, "ssh", `["setup",{"public_key":"k","user":"u"}]`, false,
			`{"command":"setup","status":"success","ip":"i","host_public_key":"h"}`, client.SSH{Command: "setup", Status: "success", IP: "i", HostKey: "h"}},
		{func(c *client.Client) (any, error) { return c.CleanUpSSH(ctx, "^u") }, "ssh", `["cleanup",{"user_regex":"^u"}]`, false,
			`{"command":"cleanup","status":"success"}`, client.SSH{Command: "cleanup", Status: "success"}},
		{func(c *client.Client) (any, error) { return c.BundleLogs(ctx, "o", "job", nil) }, "bundle_logs",
			`[{"filters":null,"log_type":"job","owning_user":"o"}]`, false, `{"logs_tar_path":"/p","sha512":"sha512:x"}`,
			client.BundledLogs{Path: "/p", Digest: "sha512:x"}},
		{func(c *client.Client) (any, error) { return nothing(c.RemoveFile(ctx, "/x")) }, "remove_file", `["/x"]`, false, `"/x"`, nil},
		{func(c *client.Client) (any, error) { return c.FetchLogs(ctx, "job", nil) }, "fetch_logs", `["job",null]`, true,
			`{"blobstore_id":"b","sha1":"s"}`, client.Logs{BlobID: "b", Digest: "s"}},
		{func(c *client.Client) (any, error) {
			return c.FetchLogsWithSignedURL(ctx, client.SignedLogs{URL: "u", LogType: "job", Filters: []string{"a"}})
		}, "fetch_logs_with_signed_url", `[{"signed_url":"u","log_type":"job","filters":["a"]}]`, true, `{"sha1":"s"}`, client.Logs{Digest: "s"}},
		{func(c *client.Client) (any, error) {
			return c.CompilePackageWithSignedURL(ctx, client.SignedPackage{GetURL: "g", PutURL: "u", Digest: "d", Name: "n", Version: "v"})
		}, "compile_package_with_signed_url",
			`[{"package_get_signed_url":"g","upload_signed_url":"u","digest":"d","name":"n","version":"v","deps":{}}]`, true,
			`{"result":{"sha1":"s"}}`, client.Compiled{SHA1: "s"}},
		{func(c *client.Client) (any, error) { return nothing(c.UploadBlob(ctx, "id", "d", []byte("abc"))) }, "upload_blob",
			`[{"blob_id":"id","checksum":"d","payload":"YWJj"}]`, true, `"id"`, nil},
		{func(c *client.Client) (any, error) {
			return nothing(c.UpdateSettings(ctx, client.UpdateSettings{TrustedCerts: "c"}))
		}, "update_settings",
			`[{"trusted_certs":"c","disk_associations":[]}]`, true, `"ok"`, nil},
		{func(c *client.Client) (any, error) { return c.Info(ctx) }, "info", `[]`, false, `{"api_version":1}`, client.Info{APIVersion: 1}},
		{func(c *client.Client) (any, error) { return nothing(c.Shutdown(ctx)) }, "shutdown", `[]`, false, `""`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.PrepareNetworkChange(ctx)) }, "prepare_network_change", `[]`, false, `true`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.PrepareConfigureNetworks(ctx)) }, "prepare_configure_networks", `[]`, false, `"ok"`, nil},
		{func(c *client.Client) (any, error) { return nothing(c.ConfigureNetworks(ctx)) }, "configure_networks", `[]`, true, `"ok"`, nil},
		{func(c *client.Client) (any, error) { v, err := c.ReleaseApplySpec(ctx); return string(v), err }, "release_apply_spec", `[]`, false, `{"a":1}`, `{"a":1}`},
	} {
		asked := []string{fmt.Sprintf(`{"method":%q,"arguments":%s,"reply_to":"d"}`, c.method, c.arguments)}
		value := `{"value":` + c.value + `}`
		a, s := scripted(value)
		if c.task {
			a, s = scripted(runningReply, runningReply, value)
			asked = append(asked, getTask, getTask)
		}
		got, err := c.call(a)
		require.NoError(t, err, c.method)
		assert.Equal(t, c.want, got, c.method)
		assert.Equal(t, asked, s.asked)

		// Agents may answer any method directly, with null too, and fail at any.
		if c.method != "ssh" && c.method != "start" {
			a, _ = scripted(`{"value":null}`)
			_, err = c.call(a)
			assert.NoError(t, err, c.method)
		}
		a, _ = scripted(`{"exception":{"message":"broke"}}`)
		_, err = c.call(a)
		var remote *client.RemoteError
		require.ErrorAs(t, err, &remote, c.method)
		assert.Equal(t, "broke", remote.Message)
	}
}

func TestProtocolIsSent(t *testing.T) {
	s := &script{replies: []string{`{"value":"pong"}`}}
	require.NoError(t, client.New(client.Config{Transport: s, Protocol: 3}).Ping(t.Context()))
	assert.Equal(t, []string{`{"protocol":3,"method":"ping","arguments":[],"reply_to":"deakit"}`}, s.asked)
}

func TestExceptions(t *testing.T) {
	for wire, want := range map[string]client.RemoteError{
		`{"exception":"text"}`:                                        {Method: "m", Message: "text"},
		`{"exception":{"message":"text"}}`:                            {Method: "m", Message: "text"},
		`{"exception":{"message":"text","backtrace":["a","b"]}}`:      {Method: "m", Message: "text", Backtrace: []string{"a", "b"}},
		`{"exception":{"message":"text","blobstore_id":"x"}}`:         {Method: "m", Message: "text", BlobID: "x"},
		`{"value":1,"exception":{"message":"text","backtrace":null}}`: {Method: "m", Message: "text"},
	} {
		a, _ := scripted(wire)
		_, err := a.Call(t.Context(), "m")
		var have *client.RemoteError
		require.ErrorAs(t, err, &have, wire)
		assert.Equal(t, want, *have)
		assert.EqualError(t, err, "Agent responded with error: m: text")
	}
	a, _ := scripted(`{"value":7}`)
	_, err := a.SyncDNS(t.Context(), "b", "d", 1)
	assert.ErrorContains(t, err, "sync_dns: result \"7\" is not of the expected form")
	a, _ = scripted(`{"value":"no"}`)
	assert.ErrorContains(t, a.StartJobs(t.Context()), "Failed to start agent services with response: 'no'")
	a, _ = scripted(`{"value":{"command":"setup","status":"failure","error":"no user"}}`)
	_, err = a.SetUpSSH(t.Context(), "u", "k")
	assert.ErrorContains(t, err, `setup: status "failure" no user`)
	_, err = a.Call(t.Context(), "m", make(chan int))
	assert.ErrorContains(t, err, "arguments of m")
	assert.Panics(t, func() { client.New(client.Config{}) })
}

func TestKindsOfExceptions(t *testing.T) {
	for text, kind := range map[string]error{
		"unknown message frob": client.ErrUnsupported, `unknown message {"method"=>"frob"}`: client.ErrUnsupported,
		"unknown agent_task_id": client.ErrUnknownTask, "Action Failed get_task: Task with id X could not be found": client.ErrUnknownTask,
		"restarting agent": client.ErrRestarting, "not restarting agent": nil, "else": nil,
	} {
		a, _ := scripted(`{"exception":` + fmt.Sprintf("%q", text) + `}`)
		_, err := a.Call(t.Context(), "m")
		for _, other := range []error{client.ErrUnsupported, client.ErrUnknownTask, client.ErrRestarting, client.ErrAuthentication} {
			assert.Equal(t, other == kind, errors.Is(err, other), "%s: %v", text, other)
		}
	}
	// What old agents do not know is not always missed.
	const unknown = `{"exception":{"message":"unknown message"}}`
	a, _ := scripted(unknown, unknown, unknown)
	info, err := a.Info(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info)
	require.NoError(t, a.RunScript(t.Context(), "pre-start", nil))
	require.NoError(t, a.Prepare(t.Context(), nil))
}

// shelf is a blob store.
type shelf struct {
	content map[string]string
	deleted []string
	err     error
}

func (s *shelf) Get(_ context.Context, id string) (io.ReadCloser, error) {
	if content, ok := s.content[id]; ok {
		return io.NopCloser(strings.NewReader(content)), nil
	}
	return nil, errors.New("no blob")
}

func (s *shelf) Delete(_ context.Context, id string) error {
	s.deleted = append(s.deleted, id)
	return s.err
}

func TestOutputInBlobs(t *testing.T) {
	const id, gone = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666"
	blobs := &shelf{content: map[string]string{id: "the output", "../x": "secret"}}
	call := func(blob string) *client.RemoteError {
		s := &script{replies: []string{`{"exception":{"message":"m","blobstore_id":"` + blob + `"}}`}}
		_, err := client.New(client.Config{Transport: s, Blobs: blobs}).Call(t.Context(), "m")
		var remote *client.RemoteError
		require.ErrorAs(t, err, &remote)
		return remote
	}
	e := call(id)
	assert.Equal(t, "the output", e.Output)
	require.NoError(t, e.OutputErr)
	assert.Equal(t, []string{id}, blobs.deleted)

	blobs.err = errors.New("not deleted")
	e = call(id)
	assert.Equal(t, "the output", e.Output)
	assert.ErrorIs(t, e, blobs.err)
	e = call(gone)
	assert.ErrorContains(t, e.OutputErr, "no blob")
	assert.Equal(t, "m", e.Message)
	for _, bad := range []string{"../x", "error: unable to upload blob to blobstore: full"} {
		e = call(bad)
		assert.ErrorContains(t, e.OutputErr, "is no UUID")
		assert.Empty(t, e.Output)
	}
}

func TestTaskHandling(t *testing.T) {
	for name, c := range map[string]struct {
		replies []string
		want    string
		err     string
	}{
		"own state":       {[]string{runningReply, `{"value":{"state":"running"}}`}, `{"state":"running"}`, ""},
		"null":            {[]string{runningReply, `{"value":null}`}, `null`, ""},
		"direct":          {[]string{`{"value":[1]}`}, `[1]`, ""},
		"done with id":    {[]string{runningReply, `{"value":{"state":"done","agent_task_id":"T"}}`}, `{"state":"done","agent_task_id":"T"}`, ""},
		"fails":           {[]string{runningReply, runningReply, `{"exception":{"message":"Task T result: no"}}`}, "", "get_task: Task T result: no"},
		"forgotten":       {[]string{runningReply, `{"exception":"unknown agent_task_id"}`}, "", "unknown agent_task_id"},
		"fails at once":   {[]string{`{"exception":{"message":"no"}}`}, "", "m: no"},
		"lost at once":    {[]string{"!lost"}, "", "lost"},
		"lost on the way": {[]string{runningReply, "!lost", "!lost", runningReply, "!lost", `{"value":1}`}, `1`, ""},
		"restarting":      {[]string{runningReply, `{"exception":"restarting agent"}`, `{"value":1}`}, `1`, ""},
	} {
		a, s := scripted(c.replies...)
		value, err := a.Run(t.Context(), "m")
		if c.err != "" {
			assert.ErrorContains(t, err, c.err, name)
		} else {
			require.NoError(t, err, name)
			assert.Equal(t, c.want, string(value), name)
		}
		assert.Empty(t, s.replies, name)
	}
}

// So many questions in a row may fail; one that succeeds sets the count back.
func TestTolerance(t *testing.T) {
	for _, c := range []struct {
		tolerate, asked int
		replies         []string
	}{
		{2, 4, []string{runningReply, "!a", "!b", "!c"}},
		{2, 7, []string{runningReply, "!a", "!b", runningReply, "!a", "!b", "!c"}},
		{-1, 2, []string{runningReply, "!a"}},
		{0, 12, []string{runningReply, "!1", "!2", "!3", "!4", "!5", "!6", "!7", "!8", "!9", "!10", "!11"}},
	} {
		s := &script{replies: append(c.replies, `{"value":"too late"}`)}
		_, err := client.New(client.Config{Transport: s, PollDelay: 1, Tolerate: c.tolerate}).Run(t.Context(), "m")
		assert.ErrorContains(t, err, "could not be asked for")
		assert.Len(t, s.asked, c.asked)
	}
}

func TestPollingAndProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []client.Progress
		s := &script{replies: []string{runningReply, runningReply, "!lost", runningReply, `{"value":"done"}`}}
		a := client.New(client.Config{Transport: s, Progress: func(p client.Progress) { told = append(told, p) }})
		began := time.Now()
		value, err := a.Run(t.Context(), "m")
		require.NoError(t, err)
		assert.Equal(t, `"done"`, string(value))
		assert.Equal(t, 4*time.Second, time.Since(began), "a second before each question")
		require.Len(t, told, 3)
		assert.Equal(t, client.Progress{Method: "m", TaskID: "T", Elapsed: time.Second, Polls: 1}, told[0])
		assert.ErrorContains(t, told[1].Err, "lost")
		assert.Equal(t, client.Progress{Method: "m", TaskID: "T", Elapsed: 3 * time.Second, Polls: 3}, told[2])

		s = &script{replies: []string{runningReply, runningReply, runningReply, runningReply}}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		_, err = client.New(client.Config{Transport: s}).Run(ctx, "m")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "task T goes on")
	})
}

func TestCancelAndResume(t *testing.T) {
	ctx := t.Context()
	a, s := scripted(runningReply, runningReply, `{"value":"canceled"}`, `{"value":{"exit_code":143}}`)
	errand, err := a.StartErrand(ctx, "e")
	require.NoError(t, err)
	assert.Equal(t, "T", errand.ID)
	_, done, err := errand.Get(ctx)
	require.NoError(t, err)
	assert.False(t, done)
	require.NoError(t, errand.Cancel(ctx))
	result, err := errand.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, 143, result.ExitCode)
	assert.Equal(t, `{"method":"cancel_task","arguments":["T"],"reply_to":"d"}`, s.asked[2])

	a, s = scripted(`{"exception":{"message":"Action Failed cancel_task: not supported"}}`, `{"value":"applied"}`)
	task := a.Resume("apply", "T")
	assert.ErrorContains(t, task.Cancel(ctx), "not supported")
	value, err := task.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, `"applied"`, string(value))
	assert.Equal(t, getTask, s.asked[1])

	a, s = scripted(`{"value":"direct"}`)
	task, err = a.Start(ctx, "m")
	require.NoError(t, err)
	require.NoError(t, task.Cancel(ctx), "there is nothing to cancel")
	assert.Len(t, s.asked, 1)
}

func TestWaitUntilReady(t *testing.T) {
	a, s := scripted("!refused", `{"exception":"restarting agent"}`, `{"value":"pong"}`)
	require.NoError(t, a.WaitUntilReady(t.Context()))
	assert.Len(t, s.asked, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, _ = scripted("!refused")
	err := a.WaitUntilReady(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "refused")
}

// What an HTTP server says beside replies.
func TestHTTPStatus(t *testing.T) {
	status := http.StatusUnauthorized
	var seen *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"value":"pong"}`)
	}))
	defer server.Close()
	tr, err := client.NewHTTPS(client.HTTPSConfig{URL: strings.Replace(server.URL, "https://", "https://vcap:hush@", 1) + "/ignored"})
	require.NoError(t, err)
	defer tr.Close()
	a := client.New(client.Config{Transport: tr})
	err = a.Ping(t.Context())
	require.ErrorIs(t, err, client.ErrAuthentication)
	assert.NotContains(t, err.Error(), "hush")
	assert.ErrorIs(t, a.WaitUntilReady(t.Context()), client.ErrAuthentication, "waiting does not help")
	user, password, _ := seen.BasicAuth()
	assert.Equal(t, []string{"POST", "/agent", "vcap", "hush", "application/json", "gzip"}, []string{seen.Method, seen.URL.Path, user, password,
		seen.Header.Get("Content-Type"), seen.Header.Get("Accept-Encoding")})
	for _, status = range []int{http.StatusInternalServerError, http.StatusNotFound, http.StatusFound, http.StatusNoContent} {
		var wrong *client.StatusError
		require.ErrorAs(t, a.Ping(t.Context()), &wrong)
		assert.Equal(t, status, wrong.Code)
		assert.Equal(t, fmt.Sprintf("Agent responded with non-successful status code: %d", status), wrong.Error())
	}
	status = http.StatusOK
	require.NoError(t, a.Ping(t.Context()), "the content type does not matter")
	server.Close()
	err = a.Ping(t.Context())
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hush")
}

// What answers with JSON of its own is no agent, and nothing was done.
func TestHTTPReplyOfSomethingElse(t *testing.T) {
	var body string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	defer server.Close()
	tr, err := client.NewHTTPS(client.HTTPSConfig{URL: server.URL})
	require.NoError(t, err)
	defer tr.Close()
	a := client.New(client.Config{Transport: tr})
	for _, body = range []string{`{}`, `{"error":"no such host"}`, `{"exception":null}`} {
		_, err := a.Call(t.Context(), "mount_disk", "disk-1")
		assert.ErrorContains(t, err, "neither", body)
	}
	body = `{"value":null}`
	_, err = a.Call(t.Context(), "mount_disk", "disk-1")
	assert.NoError(t, err)
}

func TestHTTPReplyThatIsTooLong(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"value":"`+strings.Repeat("x", 1000)+`"}`)
	}))
	defer server.Close()
	tr, err := client.NewHTTPS(client.HTTPSConfig{URL: server.URL, MaxReply: 1000})
	require.NoError(t, err)
	defer tr.Close()
	assert.ErrorContains(t, client.New(client.Config{Transport: tr}).Ping(t.Context()), "reply has more than 1000 bytes")
}

func TestHTTPSConfigThatCannotWork(t *testing.T) {
	for text, cfg := range map[string]client.HTTPSConfig{
		"the URL must": {URL: "http://user:hush@x"}, "form https://": {URL: "://hush"}, "host:port": {URL: "https://"},
		"CA holds no certificate": {URL: "https://x", CA: "hush"}, "a CA is required": {URL: "https://x", RequireCA: true},
	} {
		_, err := client.NewHTTPS(cfg)
		require.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), "hush")
	}
}

// The state of today's agents, with everything that was asked for.
func TestFullState(t *testing.T) {
	a, _ := scripted(`{"value":{"properties":{},"job":{"name":null},"networks":{"default":{"type":"manual","ip":"10.0.0.21","netmask":"n","gateway":"g"}},
		"deployment":"cf","name":"router","index":2,"id":"6f1c","az":"z1","agent_id":"agent-1","job_state":"running","bosh_protocol":"1",
		"vitals":{"cpu":{"sys":"4.3","user":"7.4","wait":"0.4"},"disk":{"system":{"inode_percent":"3","percent":"6"}},"load":["0.90","0.78","0.46"],
		"mem":{"kb":"482976","percent":"2"},"swap":{"kb":"0","percent":"0"},"uptime":{"secs":1313}},
		"processes":[{"name":"gorouter","state":"running","uptime":{"secs":880183},"mem":{"kb":4004,"percent":0.1},"cpu":{"total":0.3}}],
		"vm":{"name":"vm-1"}}}`)
	s, err := a.FullState(t.Context())
	require.NoError(t, err)
	assert.Equal(t, client.NetworkState{IP: "10.0.0.21", Netmask: "n", Gateway: "g"}, s.Networks["default"])
	assert.Equal(t, messaging.Int(2), *s.Index)
	assert.Equal(t, "482976", string(s.Vitals.Mem.KB))
	require.Len(t, s.Processes, 1)
	assert.Equal(t, "gorouter", s.Processes[0].Name)
	assert.JSONEq(t, `"vm-1"`, string(s.VM["name"]))
	assert.Contains(t, s.All, "properties", "nothing is lost")

	// That of old agents before anything was applied.
	a, _ = scripted(`{"value":{"deployment":"","job":"","index":"","networks":{},"resource_pool":{},"packages":{},"persistent_disk":{},
		"configuration_hash":{},"properties":{},"agent_id":"a","vm":{},"job_state":"running","bosh_protocol":"1","ntp":{"message":"file missing"}}}`)
	s, err = a.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "a", s.AgentID)
	assert.Nil(t, s.Vitals)
}
