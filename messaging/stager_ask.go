package messaging

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// AskOldStager sends a request to a queue as it was done until 2012-05-02, and returns the answer. It waits until ctx ends,
// also where nobody listens: the server does not tell. The request's Notify is replaced.
func AskOldStager(ctx context.Context, conn *nats.Conn, queue string, request QueuedStaging) (QueuedStagingAnswer, error) {
	var none QueuedStagingAnswer
	subject := OldStagerQueue(queue)
	request.Notify = nats.NewInbox()
	sub, err := conn.SubscribeSync(request.Notify)
	if err != nil {
		return none, fmt.Errorf("ask %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := subject.Publish(conn, request); err != nil {
		return none, err
	}
	msg, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return none, fmt.Errorf("no answer to %s: %w", subject, err)
	}
	return StagerQueue(queue).DecodeAnswer(msg.Data)
}
