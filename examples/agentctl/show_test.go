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

// Figures are read by people here too, and an agent that is given no job is no instance.
func TestFigures(t *testing.T) {
	state := json.RawMessage(`{"agent_id":"a","job_state":"running","deployment":"d","vitals":{"load":["0.1","0.2","0.3"],"mem":{"kb":"5","percent":"4"},
		"cpu":{"user":"1.0","sys":"2.0","wait":"0.0"},"disk":{"system":{"percent":"41"}}}}`)
	var out bytes.Buffer
	require.NoError(t, (&cli{out: &out}).show("get_state", state))
	assert.Contains(t, out.String(), "vitals      load 0.1 0.2 0.3, cpu 1.0% user 2.0% sys 0.0% wait, mem 4%, system disk 41%\n")
	assert.NotContains(t, out.String(), "instance")
}
