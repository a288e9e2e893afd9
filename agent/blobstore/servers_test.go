package blobstore_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
)

// objects are what a server keeps.
type objects struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (o *objects) get(w http.ResponseWriter, key string) {
	o.mu.Lock()
	data, ok := o.kept[key]
	o.mu.Unlock()
	if !ok {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	_, _ = w.Write(data)
}

func (o *objects) put(w http.ResponseWriter, r io.Reader, key string, status int) {
	data, err := io.ReadAll(r)
	if err != nil {
		return // the connection is gone, and so is the upload
	}
	o.mu.Lock()
	o.kept[key] = data
	o.mu.Unlock()
	w.WriteHeader(status)
}

func (o *objects) delete(w http.ResponseWriter, key string, absent int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.kept[key]; !ok {
		w.WriteHeader(absent)
		return
	}
	delete(o.kept, key)
	w.WriteHeader(http.StatusNoContent)
}

func serve(t *testing.T, handler func(http.ResponseWriter, *http.Request, *objects)) (url string, kept *objects) {
	t.Helper()
	kept = &objects{kept: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r, kept) }))
	t.Cleanup(server.Close)
	return server.URL, kept
}

// client is closed with the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	c, err := blobstore.NewHTTPClient(blobstore.HTTPOptions{})
	require.NoError(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func authorized(w http.ResponseWriter, r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	if user != "agent" || password != "pw" {
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	return true
}

// davServer behaves as the nginx of a director.
func davServer(w http.ResponseWriter, r *http.Request, kept *objects) {
	if !authorized(w, r) {
		return
	}
	dir, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if dir != fmt.Sprintf("%x", sha1.Sum([]byte(id)))[:2] {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		kept.get(w, id)
	case http.MethodPut:
		kept.put(w, r.Body, id, http.StatusCreated)
	case http.MethodDelete:
		kept.delete(w, id, http.StatusNotFound)
	}
}

// simpleServer behaves as the simple blobstore server.
func simpleServer(w http.ResponseWriter, r *http.Request, kept *objects) {
	id, ok := strings.CutPrefix(r.URL.Path, "/resources/")
	if !ok || !authorized(w, r) {
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		kept.get(w, id)
	case http.MethodPost:
		kept.mu.Lock()
		_, there := kept.kept[id]
		kept.mu.Unlock()
		if there {
			w.WriteHeader(http.StatusConflict)
			return
		}
		file, _, err := r.FormFile("content")
		if err != nil {
			http.Error(w, "no content", http.StatusBadRequest)
			return
		}
		defer file.Close()
		kept.put(w, file, id, http.StatusOK)
	case http.MethodDelete:
		kept.delete(w, id, http.StatusNotFound)
	}
}

var s3Authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=KEY/\d{8}/eu-west-1/s3/aws4_request,` +
	`SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=[0-9a-f]{64}$`)

// s3Server behaves as one that speaks like S3: it checks what it can without the key.
func s3Server(w http.ResponseWriter, r *http.Request, kept *objects) {
	key, ok := strings.CutPrefix(r.URL.Path, "/bucket/cf/")
	if !ok || !s3Authorization.MatchString(r.Header.Get("Authorization")) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		kept.get(w, key)
	case http.MethodPut:
		data, err := io.ReadAll(r.Body)
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(data)) != r.Header.Get("X-Amz-Content-Sha256") {
			http.Error(w, "XAmzContentSHA256Mismatch", http.StatusBadRequest)
			return
		}
		kept.put(w, strings.NewReader(string(data)), key, http.StatusOK)
	case http.MethodDelete:
		kept.delete(w, key, http.StatusNoContent)
	}
}

func TestServersRefuse(t *testing.T) {
	for name, newStore := range map[string]func(url string) (blobstore.Store, error){
		"dav": func(url string) (blobstore.Store, error) {
			return blobstore.NewDAV(blobstore.DAVConfig{Endpoint: url, User: "agent", Password: "secret", HTTP: client(t)})
		},
		"simple": func(url string) (blobstore.Store, error) {
			return blobstore.NewSimple(blobstore.SimpleConfig{Endpoint: url, User: "agent", Password: "secret", HTTP: client(t)})
		},
		"s3": func(url string) (blobstore.Store, error) {
			return blobstore.NewS3(blobstore.S3Config{Endpoint: url, Bucket: "b", AccessKeyID: "k", SecretAccessKey: "secret", HTTP: client(t)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := serve(t, func(w http.ResponseWriter, r *http.Request, _ *objects) {
				http.Error(w, "go\x07 away", http.StatusForbidden)
			})
			store, err := newStore(url)
			require.NoError(t, err)
			for what, err := range map[string]error{
				"fetch":  store.Get(t.Context(), "id", io.Discard),
				"create": store.Put(t.Context(), "id", strings.NewReader("text")),
				"delete": store.Delete(t.Context(), "id"),
			} {
				var status *blobstore.StatusError
				require.ErrorAs(t, err, &status, what)
				assert.EqualError(t, status, "Could not "+what+" object, 403/go away")
				assert.NotContains(t, err.Error(), "secret")
				assert.NotErrorIs(t, err, blobstore.ErrNotFound)
			}
			_, err = store.Exists(t.Context(), "id")
			require.Error(t, err)
		})
	}
}

func TestEndpoints(t *testing.T) {
	for _, endpoint := range []string{"", "10.0.0.6:25250", "ftp://host", "http://", "http://user:secret@ho st"} {
		_, err := blobstore.NewDAV(blobstore.DAVConfig{Endpoint: endpoint})
		require.ErrorContains(t, err, "http://", endpoint)
		assert.NotContains(t, err.Error(), "secret")
	}
	// User info of the endpoint is for authentication, and in no error.
	url, kept := serve(t, davServer)
	store, err := blobstore.NewDAV(blobstore.DAVConfig{Endpoint: strings.Replace(url, "://", "://agent:pw@", 1), HTTP: client(t)})
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	assert.Equal(t, "text", string(kept.kept["id"]))
	store, err = blobstore.NewDAV(blobstore.DAVConfig{Endpoint: "http://agent:topsecret@127.0.0.1:1", HTTP: client(t)})
	require.NoError(t, err)
	err = store.Put(t.Context(), "id", strings.NewReader("text"))
	require.ErrorContains(t, err, "refused")
	assert.NotContains(t, err.Error(), "topsecret")
}
