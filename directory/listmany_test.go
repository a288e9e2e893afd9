package directory

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
)

// crowd makes entries with long names in the root of a fixture.
func (f *fixture) crowd(dir string, entries int) {
	f.t.Helper()
	first := f.write(dir+"/0", "")
	for i := 1; i < entries; i++ {
		require.NoError(f.t, os.Link(first, filepath.Join(f.root, dir, strconv.Itoa(i)+strings.Repeat("n", 240))))
	}
}

// A stalled client takes nothing of the body until it is let go.
type stalled struct {
	*httptest.ResponseRecorder
	begun, end chan struct{}
}

func (s *stalled) Write(b []byte) (int, error) {
	close(s.begun)
	<-s.end
	return s.ResponseRecorder.Write(b)
}

func newStalled() *stalled {
	return &stalled{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
}

// Clients that accept large listings slowly hold so much memory and no more.
func TestListingsOfStalledClients(t *testing.T) {
	f := newFixture(t, Config{})
	f.crowd("large", 1000)
	f.write("small/file", "")
	f.server.held = semaphore.NewWeighted(400 << 10)
	request := func(path string) *http.Request { return httptest.NewRequest("GET", f.signed(path, ""), nil) }

	slow := newStalled()
	var client sync.WaitGroup
	client.Go(func() { f.server.ServeHTTP(slow, request("/large")) })
	<-slow.begun
	resp, body := f.get("/large")
	assert.Equal(t, 503, resp.StatusCode)
	assert.Equal(t, "5", resp.Header.Get("Retry-After"))
	assert.Equal(t, "Too many listings are being sent\n", body)
	resp, _ = f.get("/small")
	assert.Equal(t, 200, resp.StatusCode)
	close(slow.end)
	client.Wait()
	assert.Equal(t, 1000, strings.Count(slow.Body.String(), "\n"))
	resp, body = f.get("/large")
	assert.Equal(t, 200, resp.StatusCode)
	assert.True(t, slow.Body.String() == body)
}

// Large directories wait for each other; small ones wait for none.
func TestListingsOfCrowds(t *testing.T) {
	f := newFixture(t, Config{})
	f.crowd("large", few+1000)
	f.write("small/file", "")
	open := func(path string) *handle {
		h, err := Location{Tree: Tree{Dir: f.root}, Path: path}.open()
		require.NoError(t, err)
		return h
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(Config{Resolver: f.local})
		require.NoError(t, err)
		defer s.Close()
		for range crowds {
			s.crowds <- struct{}{}
		}
		listed := make(chan int, 1)
		list := func(path string) {
			h := open(path)
			defer h.close()
			body, err := s.listing(t.Context(), h, typeText, "")
			assert.NoError(t, err)
			listed <- strings.Count(string(body), "\n")
		}
		go list("large")
		synctest.Wait()
		assert.Empty(t, listed)
		list("small")
		assert.Equal(t, 1, <-listed)
		<-s.crowds
		synctest.Wait()
		assert.Equal(t, few+1000, <-listed)
		assert.Len(t, s.crowds, crowds-1)
	})
}
