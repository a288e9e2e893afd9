package directory

import (
	"net/http"
	"strconv"
	"time"
)

// Values of headers, which many answers share. Nobody writes to them: http.Header replaces and appends.
var (
	plainText    = []string{typeText}
	nosniff      = []string{"nosniff"}
	sandbox      = []string{"sandbox"}
	acceptRanges = []string{"bytes"}
)

// send answers with a body that is all there.
func send(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	if len(body) > smallFile {
		defer patience(w, int64(len(body)))()
	}
	defer together(w, r, len(body))()
	_, _ = w.Write(body)
}

// A large answer has a minute, and a second for each 4 KiB; a client slower than that does not hold a file open for ever.
// Small ones have what the http.Server gives them.
const (
	sendGrace = time.Minute
	sendRate  = 4 << 10
)

// patience sets how long an answer of a known size may take; the function that it returns ends it, when all is sent.
func patience(w http.ResponseWriter, size int64) (end func()) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(sendGrace + time.Duration(size/sendRate)*time.Second))
	return func() {
		_ = control.Flush() // what is left; after the deadline is gone it could wait for ever
		_ = control.SetWriteDeadline(time.Time{})
	}
}
