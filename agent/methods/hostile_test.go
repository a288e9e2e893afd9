package methods_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/messaging"
)

// TestHostileArguments: what no agent can do is an exception, and neither the agent nor anything outside of it is hurt.
func TestHostileArguments(t *testing.T) {
	everywhere(t, plan{parts: withUsers(t)}, func(t *testing.T, n *node) {
		n.write("jobs/a/bin/drain", "#!/bin/sh\necho nothing\n", 0o755)
		require.NoError(t, n.Apply(t.Context(), map[string]any{"job": map[string]any{"templates": []any{map[string]any{"name": "a"}}}}))
		archive := `"configuration_hash":"h","rendered_templates_archive":{"blobstore_id":"b","sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}`
		outside := filepath.Dir(n.base)
		before, err := os.ReadDir(outside)
		require.NoError(t, err)
		for _, c := range []struct{ method, arguments, text string }{
			{"drain", `["weird"]`, "Unknown drain type weird"},
			{"drain", `["status"]`, "Unexpected call with drain type 'status'"},
			{"drain", `["update",5]`, "Extracting method arguments"},
			{"drain", `["shutdown",{}]`, "1 of 1 drain scripts failed. Failed Jobs: a."},
			{"apply", `[""]`, "Extracting method arguments"},
			{"apply", `[{"job":{"name":"r","template":"t","version":"1","sha1":"` + sum(t, nil) + `","blobstore_id":"b"},"configuration_hash":"h"}]`, "ERB"},
			{"apply", `[[]]`, "Extracting method arguments"},
			{"apply", `[]`, "Not enough arguments, expected 1, got 0"},
			{"apply", `{}`, "arguments must be an array"},
			{"get_state", `"full"`, "arguments must be an array"},
			{"apply", `[{"job":{"templates":[{"name":"x","version":""}]},` + archive + `}]`, "version"},
			{"apply", `[{"job":{"templates":[{"name":"../x","version":"1"}]},` + archive + `}]`, "name"},
			{"prepare", `[{"job":{"templates":[{"name":"x","version":"../../1"}]},` + archive + `}]`, "version"},
			{"apply", `[{"packages":{"..":{"name":"..","version":"1","sha1":"` + sum(t, nil) + `","blobstore_id":"b"}},` + archive + `}]`, "name"},
			{"apply", `[{"packages":{"p":{"name":"p","version":"1","blobstore_id":"b"}},` + archive + `}]`, "digest"},
			{"compile_package", `["b","` + sum(t, nil) + `","../x","1",{}]`, "name"},
			{"compile_package", `["../b","` + sum(t, nil) + `","x","1",{}]`, "blob"},
			{"compile_package", `["b","` + sum(t, nil) + `","x",{},{}]`, "Extracting method arguments"},
			{"compile_package_with_signed_url", `[{}]`, "name"},
			{"compile_package_with_signed_url", `[5]`, "Extracting method arguments"},
			{"run_script", `["../../x",{}]`, "name"},
			{"run_script", `["pre-start",{"env":[]}]`, "Extracting method arguments"},
			{"run_script", `["pre-start"]`, "Not enough arguments, expected 2, got 1"},
			{"run_errand", `["../a"]`, "Could not find errand"},
			{"add_persistent_disk", `["d",5]`, "Extracting method arguments"},
			{"add_persistent_disk", `["d",{"path":5}]`, "Extracting method arguments"},
			{"add_persistent_disk", `["d",{"iscsi_settings":{"target":[]}}]`, "Extracting method arguments"},
			{"add_persistent_disk", `["d",null]`, "no hint"},
			{"add_dynamic_disk", `["../../x","/dev/sdb"]`, "x"},
			{"add_dynamic_disk", `["d",[]]`, "Extracting method arguments"},
			{"remove_dynamic_disk", `["../../settings"]`, "settings"},
			{"mount_disk", `[5]`, "Extracting method arguments"},
			{"ssh", `["setup",{"user":"bosh_x\nroot","public_key":"k"}]`, "user name"},
			{"sync_dns", `["../b","` + sum(t, nil) + `",1]`, "blob"},
			{"sync_dns", `["b","",1]`, "Extracting method arguments"},
			{"sync_dns", `["b","` + sum(t, nil) + `",1.5]`, "Extracting method arguments"},
			{"fetch_logs", `["job",["["]]`, "filter"},
			{"fetch_logs", `["job","*"]`, "Extracting method arguments"},
			{"fetch_logs_with_signed_url", `[{"log_type":"job"}]`, "Extracting method arguments"},
			{"update_settings", `[{"disk_associations":[{"name":"../x","cid":"disk-0"}]}]`, "x"},
			{"update_settings", `[]`, "Not enough arguments"},
			{"cancel_task", `[{}]`, "Extracting method arguments"},
			{"set_dummy_status", `[]`, "unknown message set_dummy_status"},
		} {
			text := n.raw(c.method, c.arguments)
			assert.Contains(t, text, c.text, "%s %s", c.method, c.arguments)
			assert.NotRegexp(t, goTerms, text)
			require.NoError(t, n.Ping(t.Context()))
		}
		after, err := os.ReadDir(outside)
		require.NoError(t, err)
		names := func(entries []os.DirEntry) (all []string) {
			for _, e := range entries {
				all = append(all, e.Name())
			}
			return all
		}
		assert.True(t, slices.Equal(names(before), names(after)), "%v %v", names(before), names(after))
		assert.Equal(t, settingsText, n.read("settings"))
		assert.Equal(t, "a", n.machineSpec().Job.Templates[0].Name, "the spec is as it was")
		assert.NoFileExists(t, n.path("x"))
	})
}

// machineSpec is what get_state tells of the jobs.
func (n *node) machineSpec() (spec struct {
	Job struct {
		Templates []struct{ Name string }
	}
}) {
	n.t.Helper()
	require.NoError(n.t, json.Unmarshal([]byte(n.value("get_state")), &spec))
	return spec
}

// raw calls a method with arguments as they are, and returns the text of its exception.
func (n *node) raw(method, arguments string) string {
	n.t.Helper()
	request := messaging.AgentRequest{Method: method, Arguments: json.RawMessage(arguments), ReplyTo: "test"}
	reply, err := n.to.Do(n.t.Context(), request)
	require.NoError(n.t, err)
	if id, running := reply.Task(); running {
		_, err := n.Resume(method, id).Wait(n.t.Context())
		if !assert.Error(n.t, err, "%s %s", method, arguments) {
			return ""
		}
		return err.Error()
	}
	if !assert.NotNil(n.t, reply.Exception, "%s %s: %s", method, arguments, reply.Value) {
		return ""
	}
	return reply.Exception.Message
}

// goTerms are words that mean nothing to whoever wrote the JSON.
var goTerms = regexp.MustCompile(`Go (value|struct)|cannot unmarshal|json: |interface \{\}|map\[|runtime error|strconv\.|` +
	`\b(action|blobstore|certs|client|compile|digest|disk|hosts|job|json|logs|messaging|methods|reflect|script|settings|spec|sshuser|task|transport)\.[A-Z]`)

// TestArgumentErrorsAreInTermsOfJSON: each method is called with each shape of argument that it may not expect.
func TestArgumentErrorsAreInTermsOfJSON(t *testing.T) {
	n := run(t, plan{parts: withUsers(t)})
	members := []string{"archive", "blob_id", "blobstore_headers", "blobstore_id", "blobstores", "cert", "checksum", "configuration_hash", "deployment",
		"deps", "digest", "disk_associations", "env", "filters", "id", "index", "ips", "iscsi_settings", "job", "log_type", "lun", "mbus",
		"multi_digest", "name", "networks", "owning_user", "package_get_signed_url", "packages", "path", "payload", "persistent_disk",
		"properties", "public_key", "rendered_templates_archive", "resource_pool", "sha1", "signed_url", "trusted_certs", "upload_signed_url",
		"user", "user_regex", "version"}
	shapes := []string{`5`, `1.5`, `-1`, `1e400`, `"x"`, `true`, `null`, `[]`, `[5]`, `[null]`, `[{"name":5,"cid":5,"provider":5}]`, `{}`, `{"x":5}`,
		`{"x":{"name":5}}`, `{"templates":5}`, `{"urls":5}`, `{"cert":5}`, `{"target":5}`}
	all := slices.Clone(shapes)
	for _, shape := range shapes {
		for _, member := range members {
			all = append(all, `{"`+member+`":`+shape+`}`)
		}
	}
	registry, err := action.New(n.machine.Methods()...)
	require.NoError(t, err)
	refused := map[string]bool{}
	for _, name := range registry.Names() {
		method, _ := registry.Lookup(name)
		for _, shape := range all {
			for _, leading := range []string{"", `"x",`, `"x","x","x","1",`} {
				_, err := method.Bind(json.RawMessage("[" + leading + shape + "," + shape + "]"))
				if err == nil {
					continue
				}
				refused[name] = true
				assert.NotRegexp(t, goTerms, err.Error(), "%s %s", name, shape)
			}
		}
	}
	for _, name := range []string{"apply", "compile_package", "ssh", "update_settings", "sync_dns", "upload_blob", "run_script", "add_persistent_disk"} {
		assert.True(t, refused[name], name)
	}
}
