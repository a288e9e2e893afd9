package directory

import (
	"net/http"
	"strconv"
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
		patient := newPatientWriter(w)
		defer patient.end()
		w = patient
	}
	defer together(w, r, len(body))()
	_, _ = w.Write(body)
}
