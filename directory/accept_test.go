package directory

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"": typeText, "*/*": typeText, "text/*": typeText, "text/plain": typeText, "*/*;q=0.8": typeText,
		"application/json": typeJSON, "Application/JSON; charset=utf-8": typeJSON, "application/*": typeJSON,
		"application/json, text/plain, */*": typeText, "application/json;q=0.9, text/plain;q=0.8": typeJSON,
		"application/json;q=0": typeText, "text/plain;q=0, */*": typeJSON, "application/json;q=x": typeText,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": typeHTML,
		"text/html": typeHTML, "text/*;q=0.5, text/html;q=0.4": typeText, "image/png": typeText,
		"application/zip": typeZip, "application/gzip, */*;q=0.1": typeTgz, ";;,,=q": typeText,
		"application/json;q=NaN": typeText, "application/json;q=1e9": typeText, "application/json ; Q=0.5": typeJSON,
	} {
		h := http.Header{}
		if accept != "" {
			h.Set("Accept", accept)
		}
		assert.Equal(t, want, negotiate(h, typeText, typeJSON, typeHTML, typeZip, typeTgz), accept)
	}
	assert.Equal(t, typeHTML, negotiate(http.Header{"Accept": {"text/plain;q=0.1", "text/html"}}, typeText, typeHTML), "two lines")
}
