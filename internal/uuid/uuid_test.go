package uuid_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/internal/uuid"
)

func TestNew(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := uuid.New()
		assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
		assert.True(t, uuid.Is(id))
		assert.False(t, seen[id])
		seen[id] = true
	}
}

func TestIs(t *testing.T) {
	for text, want := range map[string]bool{
		"11111111-2222-3333-4444-555555555555": true, "ABCDEF01-2222-3333-4444-55555555555a": true,
		"": false, "../../../../../../../../../../../etc": false, "11111111-2222-3333-4444-55555555555": false,
		"111111112-222-3333-4444-555555555555": false, "1111111g-2222-3333-4444-555555555555": false,
		"11111111-2222-3333-4444-555555555555\n": false,
	} {
		assert.Equal(t, want, uuid.Is(text), text)
	}
}
