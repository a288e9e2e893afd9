package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/proto"
)

// MaxPayload bounds the payload of a frame in bytes, in both directions. The original knows no bound; a response can carry
// twice the output limit of a job, which is 10 MiB unless configured.
const MaxPayload = 64 << 20

const (
	crlf = "\r\n"
	// maxLengthLine is the room for the length of MaxPayload, with leading zeros, and CR LF.
	maxLengthLine = 16
)

// ErrFrame: the stream holds no frame where one should begin, or one that is too long. Nothing that follows can be read.
var ErrFrame = errors.New("not a frame of Warden's protocol")

// Append appends the frame of a request or response to b. The error is a *MessageError, or ErrFrame when the message is
// too long.
func Append(b []byte, m proto.Message) ([]byte, error) {
	wrapped, err := Wrap(m)
	if err != nil {
		return b, err
	}
	size := proto.Size(wrapped)
	if size > MaxPayload {
		return b, fmt.Errorf("payload of %d bytes, more than %d: %w", size, MaxPayload, ErrFrame)
	}
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, crlf...)
	b, err = proto.MarshalOptions{}.MarshalAppend(b, wrapped)
	if err != nil {
		return b, &MessageError{Type: wrapped.GetType(), Err: err}
	}
	return append(b, crlf...), nil
}

// Write writes the frame of a request or response in one piece. Errors are those of [Append] and of w.
func Write(w io.Writer, m proto.Message) error {
	frame, err := Append(nil, m)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// A Reader reads frames from a stream. It reads ahead.
type Reader struct{ in *bufio.Reader }

// NewReader returns a reader of the frames of r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReader(r)} }

// Request reads the next request. Errors are io.EOF at the end of the stream, io.ErrUnexpectedEOF amid a frame, ErrFrame,
// *MessageError, after which the next request can be read, and those of the stream.
func (r *Reader) Request() (proto.Message, error) {
	m, err := r.next()
	if err != nil {
		return nil, err
	}
	return UnwrapRequest(m)
}

// Response reads the next response. Errors are those of Request.
func (r *Reader) Response() (proto.Message, error) {
	m, err := r.next()
	if err != nil {
		return nil, err
	}
	return UnwrapResponse(m)
}

func (r *Reader) next() (*Message, error) {
	size, err := r.length()
	if err != nil {
		return nil, err
	}
	// It grows with what arrives: a length alone costs nothing.
	var payload bytes.Buffer
	if _, err := io.CopyN(&payload, r.in, int64(size)); err != nil {
		return nil, unexpected(err)
	}
	if _, err := r.in.Discard(len(crlf)); err != nil { // skipped without a look, as the original does
		return nil, unexpected(err)
	}
	m := &Message{}
	if err := proto.Unmarshal(payload.Bytes(), m); err != nil {
		return nil, &MessageError{Err: err}
	}
	return m, nil
}

// length reads the line with which a frame begins.
func (r *Reader) length() (int, error) {
	var line []byte
	for !bytes.HasSuffix(line, []byte(crlf)) {
		if len(line) == maxLengthLine {
			return 0, fmt.Errorf("it begins with %q: %w", line, ErrFrame)
		}
		c, err := r.in.ReadByte()
		if err != nil {
			if len(line) > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
		line = append(line, c)
	}
	size, err := strconv.ParseUint(string(line[:len(line)-len(crlf)]), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("it begins with %q: %w", line, ErrFrame)
	}
	if size > MaxPayload {
		return 0, fmt.Errorf("payload of %d bytes, more than %d: %w", size, MaxPayload, ErrFrame)
	}
	return int(size), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
