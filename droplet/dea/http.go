package dea

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/deakit/deakit/messaging"
)

const (
	maxMessage  = 1 << 20          // bytes of a message, as NATS has it
	messageTime = 10 * time.Second // to receive one
)

// Handler is the HTTP interface of the DEA (dea_ng from 2016), an alternative to NATS for the two requests that carry
// secrets:
//
//	POST /v1/apps    a start message, as on dea.<id>.start
//	POST /v1/stage   a staging request, as on staging.<id>.start, which is passed to stage
//
// 202 says that the message was taken, not that the instance will run: that is told on NATS. 503 says that the DEA is
// leaving, or that stage returned an error, and that another DEA should be asked; 400 and 413 what is wrong with the message,
// as {"error": "..."}. (dea_ng took a message that is JSON but lacks keys, and dropped it in silence.)
//
// stage must not wait; its results go to the Cloud Controller by other ways. Nil means that nothing is staged here: 404, at
// which a Cloud Controller turns to NATS.
//
// The handler does not ask who sends. Serve it with [ServerTLS] and a CA file: whoever reaches it can run programs here.
func (d *DEA) Handler(stage func(messaging.StagingRequest) error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/apps", taken(d, messaging.DEAStart(d.cfg.ID).Decode, func(m messaging.StartMessage) error {
		d.Start(m)
		return nil
	}))
	if stage != nil {
		mux.Handle("POST /v1/stage", taken(d, messaging.StagingStart(d.cfg.ID).Decode, stage))
	}
	return http.NewCrossOriginProtection().Handler(mux) // no web page has anything to say here
}

// taken handles messages of one type. Whatever the content type is, the body is JSON.
func taken[T any](d *DEA, decode func([]byte) (T, error), take func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		log := d.log.With("route", r.URL.Path, "from", r.RemoteAddr)
		if d.Leaving() {
			log.Info("http.request.refused", "reason", "the DEA is leaving")
			refuse(w, http.StatusServiceUnavailable, errors.New("the DEA is leaving: ask another one"))
			return
		}
		// Where a server cannot do it, its own limits hold.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(messageTime))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		var message T
		if err == nil {
			message, err = decode(body)
		}
		if err != nil {
			log.Warn("http.request.invalid", "bytes", len(body), "error", err)
			refuse(w, fault(err), err)
			return
		}
		log.Debug("http.request.received", "bytes", len(body))
		if err := take(message); err != nil {
			log.Warn("http.request.refused", "error", err)
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}
}

// fault is the status for a body that could not be read or decoded.
func fault(err error) int {
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // a peer that has gone needs no answer
}
