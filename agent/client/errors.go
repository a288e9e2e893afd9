package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/deakit/deakit/internal/uuid"
	"github.com/deakit/deakit/messaging"
)

// What callers tell apart, with errors.Is.
var (
	ErrAuthentication = errors.New("Authentication failed")                    // the agent does not know these credentials
	ErrUnsupported    = errors.New("the agent does not support this method")   // a RemoteError about an unknown message
	ErrUnknownTask    = errors.New("the agent does not know this task")        // a RemoteError of get_task or cancel_task
	ErrRestarting     = errors.New("the agent is restarting: ask again later") // a RemoteError of an old agent that is about to end
	ErrNoReply        = errors.New("no reply from the agent in time")          // over NATS; it may have done what was asked
	ErrNobody         = errors.New("no agent of this id is on the bus")        // over NATS: its server says so at once; nothing was done
)

// A StatusError: an agent answered over HTTPS with a status that is no success.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("Agent responded with non-successful status code: %d", e.Code)
}

// A RemoteError is an exception that an agent answered with.
type RemoteError struct {
	Method    string
	Message   string
	Backtrace []string // of old agents
	BlobID    string   // of old agents: where the output is, or was
	Output    string   // what the blob had; empty where there is none
	OutputErr error    // why the blob could not be read, or not be deleted
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("Agent responded with error: %s: %s", e.Method, e.Message)
}

// Unwrap tells why there is no Output.
func (e *RemoteError) Unwrap() error { return e.OutputErr }

var unknownTask = regexp.MustCompile(`^unknown agent_task_id|Task with id \S* could not be found`)

// Is tells the kinds of exceptions apart, by the words of agents of all ages.
func (e *RemoteError) Is(kind error) bool {
	switch kind {
	case ErrUnsupported:
		return strings.Contains(e.Message, "unknown message")
	case ErrUnknownTask:
		return unknownTask.MatchString(e.Message)
	case ErrRestarting:
		return strings.HasPrefix(e.Message, "restarting agent")
	default:
		return false
	}
}

// maxOutput bounds what is read of a blob, bytes.
const maxOutput = 16 << 20

// remoteError makes an error of an exception, with the output that it points to.
func (c *Client) remoteError(ctx context.Context, method string, e messaging.AgentException) error {
	remote := &RemoteError{Method: method, Message: e.Message, Backtrace: e.Backtrace, BlobID: e.BlobID}
	if e.BlobID == "" || c.cfg.Blobs == nil {
		return remote
	}
	if !uuid.Is(e.BlobID) { // old agents say here why there is no blob; and no agent is to choose any other name
		remote.OutputErr = fmt.Errorf("output of %s: blob id %.200q is no UUID", method, e.BlobID)
		return remote
	}
	remote.Output, remote.OutputErr = c.output(ctx, e.BlobID)
	if remote.OutputErr != nil {
		c.cfg.Logger.Warn("agent.output.unreadable", "method", method, "blob", e.BlobID, "error", remote.OutputErr)
	}
	return remote
}

// output reads a blob and deletes it: nobody else wants it.
func (c *Client) output(ctx context.Context, id string) (string, error) {
	blob, err := c.cfg.Blobs.Get(ctx, id)
	if err != nil {
		return "", fmt.Errorf("output in blob %s: %w", id, err)
	}
	defer blob.Close()
	data, err := io.ReadAll(io.LimitReader(blob, maxOutput))
	if err != nil {
		return string(data), fmt.Errorf("output in blob %s: %w", id, err)
	}
	if err := c.cfg.Blobs.Delete(ctx, id); err != nil {
		return string(data), fmt.Errorf("delete output in blob %s: %w", id, err)
	}
	return string(data), nil
}

// isHopeless tells whether an error is about credentials or certificates.
func isHopeless(err error) bool {
	var invalid *tls.CertificateVerificationError
	return errors.Is(err, ErrAuthentication) || errors.As(err, &invalid)
}
