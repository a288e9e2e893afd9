package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The same state looks the same each time.
func TestStateInOrder(t *testing.T) {
	state := json.RawMessage(`{"agent_id":"a","job_state":"running","networks":{"d":{"ip":"4"},"b":{"ip":"2"},"a":{"ip":"1"},"c":{"ip":"3"}}}`)
	for range 20 {
		var out bytes.Buffer
		require.NoError(t, (&cli{out: &out}).show("get_state", state))
		assert.Equal(t, "agent a jobs running network a 1 network b 2 network c 3 network d 4", strings.Join(strings.Fields(out.String()), " "))
	}
}
