package monit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/monit"
)

// handled answers requests in place, so that time in a bubble passes only when the client waits.
type handled func(*http.Request) (code int, body string, err error)

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) {
	code, body, err := h(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func client(t *testing.T, cfg monit.ClientConfig) *monit.Client {
	t.Helper()
	c, err := monit.NewClient(cfg)
	require.NoError(t, err)
	return c
}

// A request as a monit sees it.
type request struct{ path, body, contentType, cookie, user string }

// server is a monit that answers with these codes, and then with 200.
func server(t *testing.T, codes ...int) (*httptest.Server, func() []request) {
	var mu sync.Mutex
	var seen []request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, request{r.URL.Path, string(body), r.Header.Get("Content-Type"), r.Header.Get("Cookie"), user + ":" + password})
		if n := len(seen); n <= len(codes) {
			w.WriteHeader(codes[n-1])
		}
	}))
	t.Cleanup(s.Close)
	return s, func() []request {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// A monit of stemcells gets no token.
func TestActionsWithoutToken(t *testing.T) {
	s, seen := server(t)
	c := client(t, monit.ClientConfig{URL: s.URL, User: "vcap", Password: "pw"})
	for _, action := range []monit.Action{monit.Start, monit.Stop, monit.Restart, monit.Monitor, monit.Unmonitor} {
		require.NoError(t, c.Do(t.Context(), action, "a b/c"))
	}
	const form = "application/x-www-form-urlencoded"
	assert.Equal(t, []request{
		{"/a b/c", "action=start", form, "", "vcap:pw"}, {"/a b/c", "action=stop", form, "", "vcap:pw"},
		{"/a b/c", "action=restart", form, "", "vcap:pw"}, {"/a b/c", "action=monitor", form, "", "vcap:pw"},
		{"/a b/c", "action=unmonitor", form, "", "vcap:pw"},
	}, seen())
}

// One that asks for a token gets one, from then on at once.
func TestActionsWithToken(t *testing.T) {
	s, seen := server(t, 403, 302, 302)
	c := client(t, monit.ClientConfig{URL: s.URL})
	require.NoError(t, c.Do(t.Context(), monit.Start, "a"))
	require.NoError(t, c.Do(t.Context(), monit.Stop, "a"))
	requests := seen()
	require.Len(t, requests, 3)
	token := strings.TrimPrefix(requests[1].cookie, "securitytoken=")
	require.GreaterOrEqual(t, len(token), 20)
	assert.Equal(t, "action=start", requests[0].body)
	assert.Equal(t, "action=start&securitytoken="+token, requests[1].body)
	assert.Equal(t, "action=stop&securitytoken="+token, requests[2].body)
	assert.Equal(t, requests[1].cookie, requests[2].cookie)
}

// What will not change is not tried again.
func TestRefusals(t *testing.T) {
	for _, code := range []int{400, 401, 404} {
		s, seen := server(t, code, code)
		c := client(t, monit.ClientConfig{URL: s.URL, User: "vcap", Password: "very-secret"})
		err := c.Do(t.Context(), monit.Start, "a")
		var answer *monit.StatusError
		require.ErrorAs(t, err, &answer)
		assert.Equal(t, code, answer.Code)
		assert.Equal(t, "start a", answer.Subject)
		_, err = c.Status(t.Context())
		require.ErrorAs(t, err, &answer)
		assert.NotContains(t, err.Error(), "very-secret")
		assert.Len(t, seen(), 2)
	}
	s, seen := server(t, 403, 403)
	err := client(t, monit.ClientConfig{URL: s.URL}).Do(t.Context(), monit.Start, "a")
	require.ErrorContains(t, err, "403")
	assert.Len(t, seen(), 2, "once with a token")
	s, seen = server(t, 302)
	require.Error(t, client(t, monit.ClientConfig{URL: s.URL, ShortTries: 1}).Do(t.Context(), monit.Start, "a"), "a redirect without token leads elsewhere")
	assert.Len(t, seen(), 1)
	for _, bad := range []string{"://", "host:1", "http://user:very-secret@host", "http://"} {
		_, err := monit.NewClient(monit.ClientConfig{URL: bad})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "very-secret")
	}
}

// How often and how long something is tried, in the time of a bubble.
func TestRetries(t *testing.T) {
	refused := errors.New("connection refused")
	status := func(c *monit.Client) error { _, err := c.Status(context.Background()); return err }
	do := func(action monit.Action) func(*monit.Client) error {
		return func(c *monit.Client) error { return c.Do(context.Background(), action, "a") }
	}
	for name, test := range map[string]struct {
		code  int
		err   error
		do    func(*monit.Client) error
		tries int
	}{
		"status, nobody there": {0, refused, status, 20},
		"status, busy":         {503, nil, status, 20},
		"start, busy":          {503, nil, do(monit.Start), 20},
		"start, nobody there":  {0, refused, do(monit.Start), 20},
		"stop, busy":           {503, nil, do(monit.Stop), 300},
		"stop, nobody there":   {0, refused, do(monit.Stop), 20},
		"stop, too slow":       {0, context.DeadlineExceeded, do(monit.Stop), 300},
		"unmonitor, busy":      {503, nil, do(monit.Unmonitor), 300},
		"unmonitor, broken":    {500, nil, do(monit.Unmonitor), 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				c := client(t, monit.ClientConfig{Transport: handled(func(*http.Request) (int, string, error) {
					tries++
					return test.code, "", test.err
				})})
				begin := time.Now()
				require.Error(t, test.do(c))
				assert.Equal(t, test.tries, tries)
				assert.Equal(t, time.Duration(test.tries-1)*time.Second, time.Since(begin))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // it works in the end
		tries := 0
		c := client(t, monit.ClientConfig{Transport: handled(func(*http.Request) (int, string, error) {
			if tries++; tries < 200 {
				return 503, "", nil
			}
			return 200, "", nil
		})})
		require.NoError(t, c.Do(t.Context(), monit.Stop, "a"))
	})
	synctest.Test(t, func(t *testing.T) { // nobody waits any more
		c := client(t, monit.ClientConfig{Transport: handled(func(*http.Request) (int, string, error) { return 503, "", nil })})
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, c.Do(ctx, monit.Stop, "a"), context.DeadlineExceeded)
	})
}
