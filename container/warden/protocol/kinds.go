package protocol

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
)

// A pair is what goes over the wire for one verb.
type pair struct{ request, response proto.Message }

var verbs = map[Message_Type]pair{
	Message_Error:          {nil, (*ErrorResponse)(nil)},
	Message_Create:         {(*CreateRequest)(nil), (*CreateResponse)(nil)},
	Message_Stop:           {(*StopRequest)(nil), (*StopResponse)(nil)},
	Message_Destroy:        {(*DestroyRequest)(nil), (*DestroyResponse)(nil)},
	Message_Info:           {(*InfoRequest)(nil), (*InfoResponse)(nil)},
	Message_Spawn:          {(*SpawnRequest)(nil), (*SpawnResponse)(nil)},
	Message_Link:           {(*LinkRequest)(nil), (*LinkResponse)(nil)},
	Message_Run:            {(*RunRequest)(nil), (*RunResponse)(nil)},
	Message_Stream:         {(*StreamRequest)(nil), (*StreamResponse)(nil)},
	Message_NetIn:          {(*NetInRequest)(nil), (*NetInResponse)(nil)},
	Message_NetOut:         {(*NetOutRequest)(nil), (*NetOutResponse)(nil)},
	Message_CopyIn:         {(*CopyInRequest)(nil), (*CopyInResponse)(nil)},
	Message_CopyOut:        {(*CopyOutRequest)(nil), (*CopyOutResponse)(nil)},
	Message_LimitMemory:    {(*LimitMemoryRequest)(nil), (*LimitMemoryResponse)(nil)},
	Message_LimitDisk:      {(*LimitDiskRequest)(nil), (*LimitDiskResponse)(nil)},
	Message_LimitBandwidth: {(*LimitBandwidthRequest)(nil), (*LimitBandwidthResponse)(nil)},
	Message_LimitCpu:       {(*LimitCpuRequest)(nil), (*LimitCpuResponse)(nil)},
	Message_Ping:           {(*PingRequest)(nil), (*PingResponse)(nil)},
	Message_List:           {(*ListRequest)(nil), (*ListResponse)(nil)},
	Message_Echo:           {(*EchoRequest)(nil), (*EchoResponse)(nil)},
}

// TypeOf returns the type under which a request or response travels, and false for any other message.
func TypeOf(m proto.Message) (Message_Type, bool) {
	name := string(m.ProtoReflect().Descriptor().Name())
	verb, ok := strings.CutSuffix(name, "Request")
	if !ok {
		verb, ok = strings.CutSuffix(name, "Response")
	}
	number, known := Message_Type_value[verb]
	return Message_Type(number), ok && known
}

// A MessageError is a frame that holds no message of this protocol. The next frame can be read.
type MessageError struct {
	Type Message_Type // 0 when not even that is known
	Err  error
}

func (e *MessageError) Error() string {
	if e.Type == 0 {
		return "message of unknown type, or none: " + e.Err.Error()
	}
	return fmt.Sprintf("message of type %s: %v", e.Type, e.Err)
}

// Unwrap returns the reason.
func (e *MessageError) Unwrap() error { return e.Err }

// Wrap puts a request or response into the Message that travels.
func Wrap(m proto.Message) (*Message, error) {
	kind, ok := TypeOf(m)
	if !ok {
		return nil, &MessageError{Err: fmt.Errorf("%s is neither request nor response", m.ProtoReflect().Descriptor().FullName())}
	}
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, &MessageError{Type: kind, Err: err}
	}
	return &Message{Type: kind.Enum(), Payload: payload}, nil
}

// UnwrapRequest returns the request that a message holds, as a pointer to the message of its type, or a *MessageError.
func UnwrapRequest(m *Message) (proto.Message, error) {
	return unwrap(m, verbs[m.GetType()].request, "request")
}

// UnwrapResponse returns the response that a message holds, or a *MessageError.
func UnwrapResponse(m *Message) (proto.Message, error) {
	return unwrap(m, verbs[m.GetType()].response, "response")
}

func unwrap(m *Message, like proto.Message, what string) (proto.Message, error) {
	if like == nil {
		return nil, &MessageError{Type: m.GetType(), Err: fmt.Errorf("there is no such %s", what)}
	}
	body := like.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(m.GetPayload(), body); err != nil {
		return nil, &MessageError{Type: m.GetType(), Err: err}
	}
	return body, nil
}
