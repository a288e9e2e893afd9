package directory

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Any URL path will do, in whatever form it was signed, and none without a signature.
func TestStatic(t *testing.T) {
	signer := signerAt(t, signedAt, testKey)
	f := newFixture(t, Config{Resolver: Static(signer, Tree{Dir: realTempDir(t)})})
	assert.Panics(t, func() { Static(nil, Tree{}) })
	assert.Panics(t, func() { NewLocal(signer, nil) })
	assert.Panics(t, func() { NewLocal(nil, f.registry) })
	for _, urlPath := range []string{"/", "/files", "/a b", "/a%20b", "/100%", "/ä?", "/a%2Fb"} {
		resp, _ := f.do("GET", f.url+signer.SignedPath(urlPath, text("/")))
		assert.Equal(t, 200, resp.StatusCode, urlPath)
		resp, _ = f.do("GET", f.url+signer.SignedPath(urlPath, text("/none")))
		assert.Equal(t, 404, resp.StatusCode, urlPath)
		resp, _ = f.do("GET", f.url+signer.SignedPath(urlPath, text("/"))+"0")
		assert.Equal(t, 401, resp.StatusCode, urlPath)
	}
}
