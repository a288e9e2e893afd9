package blobstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A signer signs requests with version 4 of Amazon's signature (AWS Signature Version 4, "Authorization header").
type signer struct {
	keyID, secret, token string
	region, service      string
}

// sign adds the headers x-amz-date, x-amz-content-sha256 and Authorization. hash is the SHA-256 of the body. Host, the
// headers that there are, and the query are signed.
func (s *signer) sign(req *http.Request, hash string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	day := stamp[:8]
	req.Header.Set("X-Amz-Date", stamp)
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if s.token != "" {
		req.Header.Set("X-Amz-Security-Token", s.token)
	}

	names, headers := canonicalHeaders(req)
	canonical := strings.Join([]string{req.Method, canonicalPath(req.URL), canonicalQuery(req.URL), headers, names, hash}, "\n")
	digest := sha256.Sum256([]byte(canonical))
	scope := strings.Join([]string{day, s.region, s.service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(digest[:])}, "\n")

	key := []byte("AWS4" + s.secret)
	for _, part := range []string{day, s.region, s.service, "aws4_request"} {
		key = sum(key, part)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+s.keyID+"/"+scope+
		",SignedHeaders="+names+",Signature="+hex.EncodeToString(sum(key, text)))
}

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func canonicalHeaders(req *http.Request) (names, lines string) {
	values := map[string]string{"host": req.URL.Host}
	list := []string{"host"}
	for name, v := range req.Header {
		name = strings.ToLower(name)
		list = append(list, name)
		values[name] = strings.TrimSpace(strings.Join(v, ","))
	}
	slices.Sort(list)
	for _, name := range list {
		lines += name + ":" + values[name] + "\n"
	}
	return strings.Join(list, ";"), lines
}

func canonicalPath(u *url.URL) string {
	parts := strings.Split(u.Path, "/")
	for i, part := range parts {
		parts[i] = escape(part)
	}
	if path := strings.Join(parts, "/"); path != "" {
		return path
	}
	return "/"
}

func canonicalQuery(u *url.URL) string {
	var pairs []string
	for name, values := range u.Query() {
		for _, value := range values {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape encodes all but the unreserved characters of RFC 3986.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
