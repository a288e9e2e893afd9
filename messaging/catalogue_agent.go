package messaging

import "encoding/json"

func agentKinds() []Kind {
	return []Kind{
		ask(AgentCall("*"), Kind{
			Direction: NodeAnswers, From: "director", To: "BOSH agent", Era: "always", Purpose: "do something on a machine",
			ReplyTo: "reply_to",
			Note: "One answer, to the subject in reply_to: a value, or an exception. What takes long is answered at once with a task, and asked " +
				"for with get_task until it has ended. Where credentials are set, requests and answers travel encrypted, in an object with " +
				"session_id and encrypted_data. An answer has 1048576 bytes at most. The same is spoken over HTTPS, POST /agent.",
		}, AgentRequest{
			Protocol: 3, Method: "mount_disk", Arguments: json.RawMessage(`["disk-9a"]`),
			ReplyTo: "director.7d1c." + anID + ".f00d",
		},
			AgentReply{Value: json.RawMessage(`"pong"`)},
			AgentReply{Value: json.RawMessage(`{"state":"running","agent_task_id":"b8f4bd2c-9c0b-4b0a-8d3e-1f0f2f3c4d5e"}`)},
			AgentReply{Exception: &AgentException{Message: "unknown message mount_disc"}},
		),
	}
}
