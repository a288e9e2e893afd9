package messaging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// AgentCall returns the subject on which the agent of this id is told what to do (bosh_agent, bosh-agent). The answer does
// not go to the reply subject of NATS but to the one that the request names, see [AgentRequest].
func AgentCall(id string) Query[AgentRequest, AgentReply] {
	return Query[AgentRequest, AgentReply]("agent." + id)
}

// An AgentRequest calls a method of a BOSH agent, over NATS or HTTPS. The order of its members is that of the public
// clients, which leave protocol out.
type AgentRequest struct {
	Protocol  Int             `json:"protocol,omitempty"`  // 0 to 3; today's director sends 3, the command line tools nothing
	Method    string          `json:"method"`              // name of the method
	Arguments json.RawMessage `json:"arguments,omitempty"` // array; absent or null is an empty one. Whoever runs the method checks it
	ReplyTo   string          `json:"reply_to,omitempty"`  // subject of the reply; over HTTPS a name for the log
}

// NewAgentRequest builds a request with these arguments in JSON. It fails when one of them has no JSON.
func NewAgentRequest(method, replyTo string, arguments ...any) (AgentRequest, error) {
	if arguments == nil {
		arguments = []any{}
	}
	data, err := json.Marshal(arguments)
	if err != nil {
		return AgentRequest{}, fmt.Errorf("arguments of %s: %w", method, err)
	}
	return AgentRequest{Method: method, Arguments: data, ReplyTo: replyTo}, nil
}

// An AgentReply answers an [AgentRequest]: with an exception, or else with a value, which may be null.
type AgentReply struct {
	Value     json.RawMessage `json:"value,omitempty"`     // what the method returned, or an [AgentTask] that goes on
	Exception *AgentException `json:"exception,omitempty"` // why there is no value
}

// MarshalJSON implements json.Marshaler: there is exactly one member.
func (r AgentReply) MarshalJSON() ([]byte, error) {
	if r.Exception != nil {
		return json.Marshal(struct {
			Exception *AgentException `json:"exception"`
		}{r.Exception})
	}
	return json.Marshal(struct {
		Value json.RawMessage `json:"value"`
	}{r.Value})
}

// AgentTaskRunning is the state of a task that has not ended. There is no other: the reply to get_task is then the result.
const AgentTaskRunning = "running"

// An AgentTask is the value of a reply while the method is at work. It is asked for again with get_task.
type AgentTask struct {
	State string `json:"state"`         // "running"
	ID    string `json:"agent_task_id"` // to ask for the result with
}

// Task tells whether the reply is that of a task that goes on, and of which. A result that has a state of its own is none.
func (r AgentReply) Task() (id string, running bool) {
	if r.Exception != nil || !bytes.HasPrefix(bytes.TrimSpace(r.Value), []byte("{")) {
		return "", false
	}
	var task AgentTask
	if json.Unmarshal(r.Value, &task) != nil || task.ID == "" || task.State != AgentTaskRunning {
		return "", false
	}
	return task.ID, true
}

// An AgentException tells why a method failed.
type AgentException struct {
	Message   string `json:"message"`                // for people; clients look for some words in it
	Backtrace Texts  `json:"backtrace,omitempty"`    // old agents: where in the code it failed
	BlobID    string `json:"blobstore_id,omitempty"` // old agents: the blob that has the output or the whole reply
}

// UnmarshalJSON implements json.Unmarshaler. Old agents also send a bare string.
func (e *AgentException) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*e = AgentException{}
		return json.Unmarshal(data, &e.Message)
	}
	type plain AgentException
	return json.Unmarshal(data, (*plain)(e))
}

// An AgentEnvelope carries a request or a reply that is encrypted. Requests have the subject of the reply outside.
type AgentEnvelope struct {
	ReplyTo       string `json:"reply_to,omitempty"` // of requests: subject of the reply
	SessionID     string `json:"session_id"`         // drawn by whoever sent first
	EncryptedData string `json:"encrypted_data"`     // base64 in lines of 60
}

// IsReplySubject tells whether an agent may publish to a subject that a request names: a name without wildcards, blanks and
// empty parts, not longer than 1024 bytes, and none of those by which a NATS server itself is told what to do ("$SYS", "$JS").
func IsReplySubject(subject string) bool {
	if len(subject) > 1024 || strings.HasPrefix(subject, "$") {
		return false
	}
	for part := range strings.SplitSeq(subject, ".") {
		if !IsToken(part) {
			return false
		}
	}
	return true
}
