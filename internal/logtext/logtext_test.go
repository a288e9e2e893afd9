package logtext

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOfURL(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"/instance_paths/1":               "/instance_paths/1",
		"/instance_paths/1?hmac=abc&path": "/instance_paths/1?…",
		"a\xffb":                          "a\uFFFDb",
		strings.Repeat("x", 512):          strings.Repeat("x", 512),
		strings.Repeat("x", 513):          strings.Repeat("x", 512) + "…",
		strings.Repeat("é", 300) + "hmac": strings.Repeat("é", 256) + "…",
		"x" + strings.Repeat("é", 300):    "x" + strings.Repeat("é", 255) + "\uFFFD…",
		strings.Repeat("x", 511) + "hmac": strings.Repeat("x", 511) + "h…",
	} {
		assert.Equal(t, want, OfURL(text))
	}
}
