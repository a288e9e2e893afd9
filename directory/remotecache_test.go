package directory

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted is a front server before a file API whose questions are counted.
func counted(t *testing.T, f *fixture, cfg RemoteConfig) (base string, questions *atomic.Int32) {
	t.Helper()
	questions = &atomic.Int32{}
	api := FileAPI(f.local, nil)
	cfg.URL, _ = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions.Add(1)
		api.ServeHTTP(w, r)
	}))
	base, _ = front(t, cfg)
	return base, questions
}

func TestRemoteCache(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	f.write("other", "b")
	base, questions := counted(t, f, RemoteConfig{Cache: time.Second})
	log, other := f.signer.InstanceURL(base, "app", text("log")), f.signer.InstanceURL(base, "app", text("other"))
	start := time.Now()
	for range 5 {
		_, body := f.do("GET", log)
		assert.Equal(t, "a", body)
		_, body = f.do("GET", other)
		assert.Equal(t, "b", body)
	}
	if time.Since(start) < time.Second { // else the machine was too busy for this to mean anything
		assert.EqualValues(t, 2, questions.Load())
	}
	// The content is never kept, nor is a place where there is nothing any more.
	f.append("log", "b")
	_, body := f.do("GET", log)
	assert.Equal(t, "ab", body)
	require.NoError(t, os.Remove(filepath.Join(f.root, "log")))
	resp, body := f.do("GET", log)
	assert.Equal(t, 404, resp.StatusCode, "as the file API says it, and not 400")
	assert.JSONEq(t, `{"error":"Entity not found"}`, body)

	// Nor is a refusal: what appears is there at once.
	f.write("log", "new")
	_, body = f.do("GET", log)
	assert.Equal(t, "new", body)

	f.registry.endInstance("app")
	eventually(t, "the end of the instance is seen", func() bool {
		resp, _ := f.do("GET", other)
		return resp.StatusCode == 404
	})
}

// The 404 that ends the log of a staging task comes at once.
func TestRemoteCacheHasNoTasks(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	f.registry.tasks["task"] = Tree{Dir: f.root}
	base, questions := counted(t, f, RemoteConfig{Cache: time.Second})
	target := f.signer.StagingURL(base, "task", text("log"))
	for range 3 {
		resp, _ := f.do("GET", target)
		assert.Equal(t, 200, resp.StatusCode)
	}
	f.registry.endTask("task")
	resp, body := f.do("GET", target)
	assert.Equal(t, 404, resp.StatusCode)
	assert.JSONEq(t, `{"error":"Unknown staging task"}`, body)
	assert.EqualValues(t, 4, questions.Load())
}

func TestRemoteWithoutCache(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	base, questions := counted(t, f, RemoteConfig{})
	for range 3 {
		f.do("GET", f.signer.InstanceURL(base, "app", text("log")))
	}
	assert.EqualValues(t, 3, questions.Load())
}

func TestPlaceCache(t *testing.T) {
	now := time.Unix(signedAt, 0)
	place := Location{Path: "x"}
	target := func(text string) *url.URL {
		u, err := url.Parse(text)
		require.NoError(t, err)
		return u
	}
	c := &placeCache{keep: time.Second, maxAge: time.Hour}
	found := func(u *url.URL, after time.Duration) bool {
		_, ok := c.find(u, now.Add(after))
		return ok
	}
	signed := func(at int64) *url.URL {
		return target("/instance_paths/i?hmac=1&path=x&timestamp=" + strconv.FormatInt(at, 10))
	}
	c.add(signed(signedAt), place, now)
	assert.True(t, found(signed(signedAt), 999*time.Millisecond))
	assert.False(t, found(signed(signedAt), time.Second))
	assert.False(t, found(target("/instance_paths/j?hmac=1&path=x&timestamp=1385000000"), 0), "another instance")
	assert.False(t, found(target("/instance_paths/i?hmac=2&path=x&timestamp=1385000000"), 0), "another signature")
	assert.False(t, found(target("/instance_paths/i?hmac=1&path=y&timestamp=1385000000"), 0), "another path")

	// The last second in which a URL is valid is the 3600th.
	last := signed(signedAt - 3600)
	now = now.Add(600 * time.Millisecond)
	c.add(last, place, now)
	assert.True(t, found(last, 399*time.Millisecond))
	assert.False(t, found(last, 400*time.Millisecond), "the URL has expired")

	for _, query := range []string{"", "timestamp", "timestamp=x", "timestamp=1385000000&timestamp=1385000000", "timestamp=-5",
		"timestamp=99999999999999999", "timestamp=1385000000&" + strings.Repeat("x", maxKey)} {
		u := target("/instance_paths/i?" + query)
		c.add(u, place, now)
		assert.False(t, found(u, 0), query)
	}
	u := target("/staging_tasks/t/file_path?timestamp=1385000000")
	c.add(u, place, now)
	assert.False(t, found(u, 0))

	// It is bounded, and room is made of what is over.
	for i := range 2 * maxPlaces {
		c.add(target(fmt.Sprintf("/instance_paths/%d?timestamp=1385000000", i)), place, now)
	}
	assert.Len(t, c.places, maxPlaces)
	now = now.Add(2 * time.Second)
	c.add(signed(signedAt), place, now)
	assert.True(t, found(signed(signedAt), 0))
	assert.Len(t, c.places, 1)
	c.forget(signed(signedAt))
	assert.Empty(t, c.places)
}

func TestRemoteCacheConfig(t *testing.T) {
	for _, cfg := range []RemoteConfig{{Cache: -1}, {Cache: 2 * time.Second}, {MaxAge: -1}} {
		cfg.URL = "http://127.0.0.1:1"
		_, err := NewRemote(cfg)
		assert.ErrorContains(t, err, "file API: ")
	}
}
