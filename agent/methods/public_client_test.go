package methods_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/internal/blobtest"
)

// post sends a request as the public client in Go does, and returns the whole reply: 200, with a value or an exception.
func (n *node) post(body string) map[string]json.RawMessage {
	n.t.Helper()
	to, err := url.Parse(n.url)
	require.NoError(n.t, err)
	password, _ := to.User.Password()
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, "https://"+to.Host+"/agent", strings.NewReader(body))
	require.NoError(n.t, err)
	request.SetBasicAuth(to.User.Username(), password)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	// Without a CA it does not verify anybody.
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := c.Do(request)
	require.NoError(n.t, err)
	defer response.Body.Close()
	require.Equal(n.t, http.StatusOK, response.StatusCode)
	data, err := io.ReadAll(response.Body)
	require.NoError(n.t, err)
	var reply map[string]json.RawMessage
	require.NoError(n.t, json.Unmarshal(data, &reply), string(data))
	require.Len(n.t, reply, 1)
	return reply
}

// task posts a request whose answer must be a task, and asks for its value as that client does.
func (n *node) task(body string) string {
	n.t.Helper()
	reply := n.post(body)
	var running struct {
		State string `json:"state"`
		ID    string `json:"agent_task_id"`
	}
	require.NoError(n.t, json.Unmarshal(reply["value"], &running), body)
	require.Equal(n.t, "running", running.State, body)
	first := string(reply["value"])
	for string(reply["value"]) == first {
		reply = n.post(`{"method":"get_task","arguments":["` + running.ID + `"],"reply_to":"director-id"}`)
		time.Sleep(time.Millisecond)
	}
	require.Empty(n.t, string(reply["exception"]), body)
	return string(reply["value"])
}

// TestPublicClient replays the bodies of the public client (agentclient of bosh-agent), member by member, in the order of a
// deployment, and looks for what that client expects.
func TestPublicClient(t *testing.T) {
	n := run(t, plan{parts: withUsers(t)})
	require.NoError(t, n.memory.Attach("/dev/sdx", 64<<20))
	require.NoError(t, n.memory.Attach("/dev/sdy", 64<<20))
	body := func(method, arguments string) string {
		return `{"method":"` + method + `","arguments":` + arguments + `,"reply_to":"director-id"}`
	}
	value := func(method, arguments string) string {
		t.Helper()
		return string(n.post(body(method, arguments))["value"])
	}
	task := func(method, arguments string) string { t.Helper(); return n.task(body(method, arguments)) }

	assert.Equal(t, `"pong"`, value("ping", `[]`))
	source := n.blob("blob", blobtest.Tgz(t, "", blobtest.Files{"packaging": "echo x > $BOSH_INSTALL_TARGET/x"}))
	dep := n.blob("dep", blobtest.Tgz(t, "", blobtest.Files{"y": "y"}))
	var compiled struct {
		Result struct {
			SHA1   string `json:"sha1"`
			BlobID string `json:"blobstore_id"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(task("compile_package",
		`["blob","`+source+`","name","version",{"q":{"name":"q","version":"version","sha1":"`+dep+`","blobstore_id":"dep"}}]`)), &compiled))
	templates := n.blob("t-1", blobtest.Tgz(t, "", n.job("web")))
	assert.Equal(t, `"applied"`, task("apply", `[{"deployment":"cf","name":"router","index":0,"id":"6f1c","az":"z1",`+
		`"packages":{"name":{"name":"name","version":"version","sha1":"`+compiled.Result.SHA1+`","blobstore_id":"`+compiled.Result.BlobID+`"}},`+
		`"networks":{"default":{"cloud_properties":{},"ip":"10.0.0.21","type":"manual"}},`+
		`"job":{"name":"router","templates":[{"name":"web","version":"1","sha1":"","blobstore_id":""}]},`+
		`"rendered_templates_archive":{"blobstore_id":"t-1","sha1":"`+templates+`"},"configuration_hash":"h"}]`))
	assert.Equal(t, `{}`, task("run_script", `["pre-start",{}]`))
	assert.Equal(t, `"started"`, value("start", `[]`))
	n.becomes("running")
	state := decoded(t, value("get_state", `[]`))
	assert.Equal(t, "running", state["job_state"])
	assert.Equal(t, "10.0.0.21", state["networks"].(map[string]any)["default"].(map[string]any)["ip"])

	assert.Equal(t, `["disk-0"]`, value("list_disk", `[]`), "without a protocol it is no task")
	assert.Equal(t, `{}`, task("add_persistent_disk", `["d1","/dev/sdx"]`))
	assert.Equal(t, `{}`, task("mount_disk", `["d1"]`))
	assert.Equal(t, `{}`, task("migrate_disk", `[]`))
	assert.Contains(t, task("unmount_disk", `["d1"]`), `{"message":"Unmounted`)
	assert.Equal(t, `{}`, task("remove_persistent_disk", `["d1"]`))
	assert.Equal(t, `{}`, task("add_persistent_disk", `["d2",{"path":"/dev/sdy"}]`))

	assert.Equal(t, `{}`, value("delete_arp_entries", `[{"ips":["1.1.1.1"]}]`))
	records := n.blob("b", []byte(`{"version":4,"records":[]}`))
	assert.Equal(t, `"synced"`, value("sync_dns", `["b","`+records+`",4]`))
	assert.Equal(t, `{"command":"cleanup","status":"success"}`, value("ssh", `["cleanup",{"user_regex":"^u"}]`))
	assert.Equal(t, "success", decoded(t, value("ssh", `["setup",{"public_key":"k","user":"u"}]`))["status"])
	bundled := decoded(t, value("bundle_logs", `[{"filters":null,"log_type":"job","owning_user":"root"}]`))
	assert.Regexp(t, "^sha512:", bundled["sha512"])
	path, ok := bundled["logs_tar_path"].(string)
	require.True(t, ok)
	assert.Equal(t, `"`+path+`"`, value("remove_file", `["`+path+`"]`))

	assert.Equal(t, `0`, task("drain", `["shutdown",{}]`))
	assert.Equal(t, `"stopped"`, task("stop", `[]`))
	assert.Equal(t, `"stopped"`, `"`+string(n.becomes("stopped").JobState)+`"`)
}
