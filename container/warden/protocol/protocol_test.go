package protocol_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/warden/protocol"
)

// vectors are frames as the original's encoder writes them.
var vectors = []struct {
	name     string
	hex      string
	message  proto.Message
	response bool
}{
	{name: "ping", hex: "34 0d 0a 08 5b 12 00 0d 0a", message: &protocol.PingRequest{}},
	{name: "ping answer", hex: "34 0d 0a 08 5b 12 00 0d 0a", message: &protocol.PingResponse{}, response: true},
	{name: "echo", hex: "38 0d 0a 08 5d 12 04 0a 02 68 69 0d 0a", message: &protocol.EchoRequest{Message: proto.String("hi")}},
	{
		name: "create",
		hex:  "32 35 0d 0a 08 0b 12 15 0a 0a 0a 02 2f 61 12 02 2f 62 18 00 10 ac 02 1a 04 61 70 70 31 0d 0a",
		message: &protocol.CreateRequest{
			BindMounts: []*protocol.CreateRequest_BindMount{{
				SrcPath: proto.String("/a"), DstPath: proto.String("/b"), Mode: protocol.CreateRequest_BindMount_RO.Enum(),
			}},
			GraceTime: proto.Uint32(300), Handle: proto.String("app1"),
		},
	},
	{
		name:    "error",
		hex:     "32 30 0d 0a 08 01 12 10 12 0e 75 6e 6b 6e 6f 77 6e 20 68 61 6e 64 6c 65 0d 0a",
		message: &protocol.ErrorResponse{Message: proto.String("unknown handle")}, response: true,
	},
	{
		name: "spawn",
		hex: "33 30 0d 0a 08 15 12 1a 0a 04 61 70 70 31 12 06 65 78 69 74 20 33 18 00 22 06 50 80 08 58 80 04 " +
			"28 01 0d 0a",
		message: &protocol.SpawnRequest{
			Handle: proto.String("app1"), Script: proto.String("exit 3"), Privileged: proto.Bool(false),
			Rlimits:       &protocol.ResourceLimits{Nofile: proto.Uint64(1024), Nproc: proto.Uint64(512)},
			DiscardOutput: proto.Bool(true),
		},
	},
	{
		name: "spawn answer", hex: "36 0d 0a 08 15 12 02 08 07 0d 0a",
		message: &protocol.SpawnResponse{JobId: proto.Uint32(7)}, response: true,
	},
	{
		name: "link", hex: "31 32 0d 0a 08 16 12 08 0a 04 61 70 70 31 10 07 0d 0a",
		message: &protocol.LinkRequest{Handle: proto.String("app1"), JobId: proto.Uint32(7)},
	},
	{
		name: "net_in answer", hex: "31 32 0d 0a 08 1f 12 08 08 c9 dc 03 10 c9 dc 03 0d 0a",
		message: &protocol.NetInResponse{HostPort: proto.Uint32(61001), ContainerPort: proto.Uint32(61001)}, response: true,
	},
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return data
}

func read(r *protocol.Reader, response bool) (proto.Message, error) {
	if response {
		return r.Response()
	}
	return r.Request()
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			data := unhex(t, v.hex)
			var out bytes.Buffer
			require.NoError(t, protocol.Write(&out, v.message))
			assert.Equal(t, data, out.Bytes())
			got, err := read(protocol.NewReader(bytes.NewReader(data)), v.response)
			require.NoError(t, err)
			assert.True(t, proto.Equal(v.message, got), "%v", got)
		})
	}
}

func TestFramesSplitAndJoined(t *testing.T) {
	var stream []byte
	for _, v := range vectors {
		if !v.response {
			stream = append(stream, unhex(t, v.hex)...)
		}
	}
	for name, in := range map[string]io.Reader{
		"one byte at a time": iotest.OneByteReader(bytes.NewReader(stream)),
		"all at once":        bytes.NewReader(stream),
	} {
		r := protocol.NewReader(in)
		for _, v := range vectors {
			if v.response {
				continue
			}
			got, err := r.Request()
			require.NoError(t, err, name)
			assert.True(t, proto.Equal(v.message, got), "%s: %v", name, got)
		}
		_, err := r.Request()
		assert.Equal(t, io.EOF, err, name)
	}
	for cut := 1; cut < len(unhex(t, vectors[0].hex)); cut++ {
		_, err := protocol.NewReader(bytes.NewReader(stream[:cut])).Request()
		assert.Equal(t, io.ErrUnexpectedEOF, err, "after %d bytes", cut)
	}
}

func TestBadFrames(t *testing.T) {
	for _, text := range []string{
		"x\r\n", "-1\r\n", "+4\r\n", " 4\r\n", "\r\n", "4\n\x08\x5b\x12\x00\r\n", "0x4\r\n", "67108865\r\n", "99999999999\r\n",
		strings.Repeat("0", 100), "\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r",
	} {
		_, err := protocol.NewReader(strings.NewReader(text)).Request()
		assert.ErrorIs(t, err, protocol.ErrFrame, "%q", text)
	}
	long := &protocol.EchoRequest{Message: proto.String(strings.Repeat("x", protocol.MaxPayload))}
	assert.ErrorIs(t, protocol.Write(io.Discard, long), protocol.ErrFrame)
}

func TestBadMessagesLeaveTheStreamUsable(t *testing.T) {
	ping := unhex(t, vectors[0].hex)
	for name, payload := range map[string]string{
		"no protobuf":             "\xff\xff",
		"nothing":                 "",
		"no type":                 "\x12\x00",
		"unknown type":            "\x08\x63\x12\x00",
		"a response as a request": "\x08\x01\x12\x00",
		"field missing":           "\x08\x5d\x12\x00",
		"garbage in the payload":  "\x08\x5d\x12\x02\xff\xff",
	} {
		frame := append([]byte{byte('0' + len(payload)), '\r', '\n'}, payload+"\r\n"...)
		r := protocol.NewReader(bytes.NewReader(append(frame, ping...)))
		_, err := r.Request()
		var bad *protocol.MessageError
		require.ErrorAs(t, err, &bad, name)
		got, err := r.Request()
		require.NoError(t, err, name)
		assert.IsType(t, &protocol.PingRequest{}, got)
	}
	_, err := protocol.Append(nil, &protocol.Message{})
	var bad *protocol.MessageError
	assert.ErrorAs(t, err, &bad, "neither request nor response")
	_, err = protocol.Append(nil, &protocol.LinkRequest{})
	assert.ErrorAs(t, err, &bad, "required fields are missing")
}

func TestStringsAreBytes(t *testing.T) {
	for _, text := range []string{"\xc2\x82", "\xff\x00\xfe", ""} {
		var wire bytes.Buffer
		require.NoError(t, protocol.Write(&wire, &protocol.EchoResponse{Message: &text}))
		got, err := protocol.NewReader(&wire).Response()
		require.NoError(t, err)
		assert.Equal(t, text, got.(*protocol.EchoResponse).GetMessage())
	}
}

func TestJobIDsPackedOrNot(t *testing.T) {
	var unpacked, packed []byte
	for _, id := range []uint64{1, 300} {
		unpacked = protowire.AppendVarint(protowire.AppendTag(unpacked, 44, protowire.VarintType), id)
	}
	packed = protowire.AppendBytes(protowire.AppendTag(packed, 44, protowire.BytesType), []byte{1, 0xac, 2})
	for _, payload := range [][]byte{unpacked, packed} {
		got, err := protocol.UnwrapResponse(&protocol.Message{Type: protocol.Message_Info.Enum(), Payload: payload})
		require.NoError(t, err)
		assert.Equal(t, []uint64{1, 300}, got.(*protocol.InfoResponse).GetJobIds())
	}
	wrapped, err := protocol.Wrap(&protocol.InfoResponse{JobIds: []uint64{1, 300}})
	require.NoError(t, err)
	assert.Equal(t, unpacked, wrapped.GetPayload(), "the original does not pack")
}

// TestUnknownFields lets an original meet what is an addition here.
func TestUnknownFields(t *testing.T) {
	described, err := proto.Marshal(&protocol.PingRequest{Describe: proto.Bool(true)})
	require.NoError(t, err)
	got, err := protocol.UnwrapRequest(&protocol.Message{Type: protocol.Message_List.Enum(), Payload: described})
	require.NoError(t, err, "a field that the message does not know")
	assert.IsType(t, &protocol.ListRequest{}, got)
}

func TestEveryVerbHasItsMessages(t *testing.T) {
	file := protocol.File_container_warden_protocol_warden_proto
	for name, number := range protocol.Message_Type_value {
		kind := protocol.Message_Type(number)
		for _, suffix := range []string{"Request", "Response"} {
			descriptor := file.Messages().ByName(protoName(name + suffix))
			if descriptor == nil {
				assert.Equal(t, "ErrorRequest", name+suffix)
				continue
			}
			wrapped := &protocol.Message{Type: kind.Enum()}
			unwrap := protocol.UnwrapRequest
			if suffix == "Response" {
				unwrap = protocol.UnwrapResponse
			}
			m, err := unwrap(wrapped)
			var bad *protocol.MessageError
			if err != nil { // fields that are required
				require.True(t, errors.As(err, &bad))
				assert.Equal(t, kind, bad.Type)
				continue
			}
			assert.Equal(t, descriptor.FullName(), m.ProtoReflect().Descriptor().FullName())
			back, ok := protocol.TypeOf(m)
			assert.True(t, ok)
			assert.Equal(t, kind, back)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex))
	}
	f.Add([]byte("2\r\n\xff\xff\r\n4\r\n\x08\x5b\x12\x00\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, response := range []bool{false, true} {
			r := protocol.NewReader(bytes.NewReader(data))
			for {
				m, err := read(r, response)
				var bad *protocol.MessageError
				if errors.As(err, &bad) {
					continue
				}
				if err != nil {
					break
				}
				frame, err := protocol.Append(nil, m)
				require.NoError(t, err)
				again, err := read(protocol.NewReader(bytes.NewReader(frame)), response)
				require.NoError(t, err)
				assert.True(t, proto.Equal(m, again))
			}
		}
	})
}

func TestDescriptorIsThatOfTheFile(t *testing.T) {
	text, err := os.ReadFile("warden.proto")
	require.NoError(t, err)
	assert.Equal(t, normal(string(text)), normal(render(protocol.File_container_warden_protocol_warden_proto)),
		"warden.pb.go is not of this warden.proto: go generate ./container/warden/protocol")
}
