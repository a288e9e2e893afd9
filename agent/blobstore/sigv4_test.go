package blobstore

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSignatures against the examples of Amazon's documentation, "Authenticating Requests: Using the Authorization
// Header".
func TestSignatures(t *testing.T) {
	s := &signer{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", "us-east-1", "s3"}
	for _, test := range []struct {
		method, url, hash string
		header            http.Header
		signature         string
	}{
		{"GET", "https://examplebucket.s3.amazonaws.com/test.txt", emptyHash, http.Header{"Range": {"bytes=0-9"}},
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"PUT", "https://examplebucket.s3.amazonaws.com/test$file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			http.Header{"Date": {"Fri, 24 May 2013 00:00:00 GMT"}, "X-Amz-Storage-Class": {"REDUCED_REDUNDANCY"}},
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", emptyHash, nil,
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"GET", "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", emptyHash, nil,
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		req, err := http.NewRequest(test.method, test.url, nil)
		require.NoError(t, err)
		for name, values := range test.header {
			req.Header[name] = values
		}
		s.sign(req, test.hash, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
		_, signature, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
		assert.Equal(t, test.signature, signature, test.url)
	}
}
