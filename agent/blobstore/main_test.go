package blobstore_test

import (
	"testing"

	"go.uber.org/goleak"
)

// With nats.go 1.55 a Put of JetStream now and then leaves a goroutine behind: one that begins when what it listens to is gone already
// waits for a nil channel (resetPendingAcksOnReconnect, cleanupReplySub).
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}
