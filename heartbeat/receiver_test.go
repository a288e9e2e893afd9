package heartbeat_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

func TestReceiver(t *testing.T) {
	var taken []messaging.Heartbeat
	receiver := heartbeat.Receiver(func(b messaging.Heartbeat, at time.Time) {
		assert.WithinDuration(t, time.Now(), at, time.Minute)
		taken = append(taken, b)
	}, nil)
	const entry = `{"cc_partition":"default","droplet":"a","version":"v","instance":"i","index":0,` +
		`"state":"RUNNING","state_timestamp":1.5}`
	for _, test := range []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/dea/heartbeat", `{"dea":"0-a","droplets":[` + entry + `]}`, 202},
		{"POST", "/dea/heartbeat", `{"dea":"0-a","droplets":[],"prod":false}`, 202},
		{"POST", "/dea/heartbeat", "", 400},
		{"POST", "/dea/heartbeat", "{", 400},
		{"POST", "/dea/heartbeat", "null", 400},
		{"POST", "/dea/heartbeat", `{"droplets":[]}`, 400},
		{"POST", "/dea/heartbeat", `{"dea":"0-a","droplets":[` + strings.Replace(entry, `"index":0`, `"index":0.5`, 1) + `]}`, 400},
		{"POST", "/dea/heartbeat", strings.Repeat(" ", 5<<20), 413},
		{"GET", "/dea/heartbeat", "", 405},
		{"POST", "/dea", "{}", 404},
	} {
		taken = nil
		resp := httptest.NewRecorder()
		receiver.ServeHTTP(resp, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
		assert.Equal(t, test.code, resp.Code, "%s %s %.80s", test.method, test.path, test.body)
		assert.Equal(t, test.code == 202, len(taken) == 1, "%.80s", test.body)
	}
}
