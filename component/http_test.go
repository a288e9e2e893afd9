package component_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/component"
)

// answer asks a handler; without a user there is no authentication.
func answer(h http.Handler, method, path, user, password string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp := httptest.NewRecorder()
	h.ServeHTTP(resp, req)
	return resp
}

func TestWhoMayAskWhat(t *testing.T) {
	c, err := component.New(component.Config{Type: "DEA", User: "u", Password: "p"})
	require.NoError(t, err)
	for _, test := range []struct {
		method, path, user, password string
		code                         int
	}{
		{"GET", "/healthz", "u", "p", 200},
		{"GET", "/varz", "u", "p", 200},
		{"GET", "/metrics", "u", "p", 200},
		{"HEAD", "/healthz", "u", "p", 200},
		{"HEAD", "/varz", "u", "p", 200},
		{"GET", "/healthz", "", "", 401},
		{"GET", "/varz", "", "", 401},
		{"GET", "/metrics", "", "", 401},
		{"HEAD", "/varz", "", "", 401},
		{"GET", "/varz", "u", "", 401},
		{"GET", "/varz", "u", "pp", 401},
		{"GET", "/varz", "u:p", "", 401},
		{"GET", "/varz", "U", "p", 401},
		{"POST", "/varz", "u", "p", 405},
		{"DELETE", "/healthz", "u", "p", 405},
		{"GET", "/", "u", "p", 404},
		{"GET", "/varz/x", "u", "p", 404},
	} {
		resp := answer(c.Handler(), test.method, test.path, test.user, test.password)
		assert.Equal(t, test.code, resp.Code, "%+v", test)
		assert.Equal(t, test.code == 401, resp.Header().Get("WWW-Authenticate") != "", "%+v", test)
		if test.code == 405 {
			assert.Equal(t, "GET, HEAD", resp.Header().Get("Allow"))
		}
	}
}

func TestHeadHasTheLengthAndNoBody(t *testing.T) {
	c, err := component.New(component.Config{Type: "DEA", User: "u", Password: "p"})
	require.NoError(t, err)
	server := httptest.NewServer(c.Handler())
	defer server.Close()
	req, err := http.NewRequest(http.MethodHead, server.URL+"/varz", nil)
	require.NoError(t, err)
	req.SetBasicAuth("u", "p")
	resp, err := server.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Empty(t, body)
	assert.Greater(t, resp.ContentLength, int64(100))
}

func TestFiguresAreTakenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c, err := component.New(component.Config{
			Type: "DEA", User: "u", Password: "p",
			Varz: func(context.Context) map[string]any { return map[string]any{"asked": asked.Add(1)} },
		})
		require.NoError(t, err)
		var requests sync.WaitGroup
		for range 20 {
			requests.Go(func() {
				assert.Contains(t, answer(c.Handler(), "GET", "/varz", "u", "p").Body.String(), `"asked": 1`)
			})
		}
		requests.Wait()
		time.Sleep(999 * time.Millisecond)
		assert.Contains(t, answer(c.Handler(), "GET", "/varz", "u", "p").Body.String(), `"asked": 1`)
		time.Sleep(time.Millisecond)
		body := answer(c.Handler(), "GET", "/varz", "u", "p").Body.String()
		assert.Contains(t, body, `"asked": 2`)
		assert.Contains(t, body, `"uptime": "0d:0h:0m:1s"`)
		time.Sleep(49*time.Hour + 12*time.Minute + 6*time.Second)
		assert.Contains(t, answer(c.Handler(), "GET", "/varz", "u", "p").Body.String(), `"uptime": "2d:1h:12m:7s"`)
	})
}

func TestAnOwnerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := component.New(component.Config{
			Type: "DEA", User: "u", Password: "p",
			Varz: func(ctx context.Context) map[string]any { <-ctx.Done(); return nil },
		})
		require.NoError(t, err)
		var requests sync.WaitGroup
		for range 2 { // the second waits for its turn
			requests.Go(func() { assert.Equal(t, 500, answer(c.Handler(), "GET", "/varz", "u", "p").Code) })
		}
		requests.Wait()
		assert.Equal(t, 200, answer(c.Handler(), "GET", "/healthz", "u", "p").Code)
	})
}

func TestFiguresThatCannotBeWritten(t *testing.T) {
	var log bytes.Buffer
	c, err := component.New(component.Config{
		Type: "DEA", User: "u", Password: "p", Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Varz:    func(context.Context) map[string]any { return map[string]any{"ratio": math.NaN()} },
		Metrics: func(context.Context) []component.Metric { return []component.Metric{{Name: "no good"}} },
	})
	require.NoError(t, err)
	assert.Equal(t, 500, answer(c.Handler(), "GET", "/varz", "u", "p").Code)
	assert.Contains(t, log.String(), "NaN")
	assert.Equal(t, 500, answer(c.Handler(), "GET", "/metrics", "u", "p").Code)
	assert.Contains(t, log.String(), "no good")
}
