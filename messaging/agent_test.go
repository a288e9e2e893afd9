package messaging_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

func TestAgentRequests(t *testing.T) {
	call := messaging.AgentCall("a")
	for wire, want := range map[string]messaging.AgentRequest{
		`{"method":"ping","arguments":[],"reply_to":"r.1"}`:      {Method: "ping", Arguments: []byte(`[]`), ReplyTo: "r.1"},
		`{"METHOD":"ping","Protocol":3,"context":{},"x":null}`:   {Method: "ping", Protocol: 3},
		`{"method":"ping","protocol":"2","arguments":null}`:      {Method: "ping", Protocol: 2, Arguments: []byte(`null`)},
		`{"method":"ping","protocol":null,"arguments":{"a": 1}}`: {Method: "ping", Arguments: []byte(`{"a": 1}`)},
		`{}`: {},
	} {
		have, err := call.Decode([]byte(wire))
		require.NoError(t, err, wire)
		assert.Equal(t, want, have, wire)
	}
	for _, wire := range []string{
		``, `null`, `[]`, `"ping"`, `7`, `{`, `{"method":7}`, `{"method":"ping","protocol":"three"}`, `{"method":"ping","protocol":[]}`,
		`{"method":"ping","reply_to":1}`,
	} {
		_, err := call.Decode([]byte(wire))
		var refused *messaging.MessageError
		assert.ErrorAs(t, err, &refused, wire)
	}
}

// The members stand in the order of the public clients.
func TestNewAgentRequest(t *testing.T) {
	for want, arguments := range map[string][]any{
		`{"method":"m","arguments":[],"reply_to":"d"}`:              nil,
		`{"method":"m","arguments":["a",1,{}],"reply_to":"d"}`:      {"a", 1, struct{}{}},
		`{"method":"m","arguments":[null],"reply_to":"d"}`:          {nil},
		`{"method":"m","arguments":[{"b":1,"a":2}],"reply_to":"d"}`: {json.RawMessage(`{"b":1,"a":2}`)},
	} {
		request, err := messaging.NewAgentRequest("m", "d", arguments...)
		require.NoError(t, err)
		data, err := json.Marshal(request)
		require.NoError(t, err)
		assert.Equal(t, want, string(data))
	}
	_, err := messaging.NewAgentRequest("m", "d", make(chan int))
	assert.ErrorContains(t, err, "arguments of m")
}

func TestAgentReplies(t *testing.T) {
	call := messaging.AgentCall("a")
	exception := func(e messaging.AgentException) messaging.AgentReply { return messaging.AgentReply{Exception: &e} }
	for wire, want := range map[string]messaging.AgentReply{
		`{"value":"pong"}`:              {Value: []byte(`"pong"`)},
		`{"value":null}`:                {Value: []byte(`null`)},
		`{"value":1,"exception":null}`:  {Value: []byte(`1`)},
		`{"exception":"text"}`:          exception(messaging.AgentException{Message: "text"}),
		`{"exception":{"message":"m"}}`: exception(messaging.AgentException{Message: "m"}),
		`{"exception":{"message":"m","backtrace":["a","b"],"blobstore_id":"id"}}`: exception(messaging.AgentException{
			Message: "m", Backtrace: []string{"a", "b"}, BlobID: "id"}),
		`{"exception":{"message":"m","backtrace":"a"}}`: exception(messaging.AgentException{Message: "m", Backtrace: []string{"a"}}),
	} {
		have, err := call.DecodeAnswer([]byte(wire))
		require.NoError(t, err, wire)
		assert.Equal(t, want, have, wire)
	}
	for _, wire := range []string{`{"exception":7}`, `[]`, `"x"`, ``} {
		_, err := call.DecodeAnswer([]byte(wire))
		assert.Error(t, err, wire)
	}
	for want, reply := range map[string]messaging.AgentReply{
		`{"value":null}`:                {},
		`{"value":[1]}`:                 {Value: []byte(`[1]`)},
		`{"exception":{"message":""}}`:  exception(messaging.AgentException{}),
		`{"exception":{"message":"m"}}`: {Value: []byte(`1`), Exception: &messaging.AgentException{Message: "m"}},
	} {
		data, err := json.Marshal(reply)
		require.NoError(t, err)
		assert.Equal(t, want, string(data))
	}
}

// A result may have a state of its own; only a task that runs is one.
func TestAgentTask(t *testing.T) {
	for value, want := range map[string]string{
		`{"state":"running","agent_task_id":"7"}`: "7", ` {"agent_task_id":"7","state":"running"}`: "7",
		`{"state":"running"}`: "", `{"state":"done","agent_task_id":"7"}`: "", `{"agent_task_id":"7"}`: "", `"running"`: "", `null`: "", ``: "",
		`[{"state":"running","agent_task_id":"7"}]`: "", `{"state":{},"agent_task_id":7}`: "",
	} {
		id, running := messaging.AgentReply{Value: []byte(value)}.Task()
		assert.Equal(t, want, id, value)
		assert.Equal(t, want != "", running, value)
	}
	id, running := messaging.AgentReply{
		Value: []byte(`{"state":"running","agent_task_id":"7"}`), Exception: &messaging.AgentException{},
	}.Task()
	assert.False(t, running, id)
}

func TestIsReplySubject(t *testing.T) {
	for subject, want := range map[string]bool{
		"r.1": true, "director.7d1c.3c7c4a2e.f00d": true, "_INBOX.x": true, "": false, "r.": false, ".r": false, "a..b": false, "r.*": false,
		"r.>": false, "a b": false, "a\r\nPUB x": false, "$JS.API.STREAM.DELETE.x": false, "$SYS.x": false, strings.Repeat("a", 1024): true,
		strings.Repeat("a", 1025): false,
	} {
		assert.Equal(t, want, messaging.IsReplySubject(subject), subject)
	}
}
