package heartbeat

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/deakit/deakit/messaging"
)

const (
	maxBeat  = 4 << 20          // bytes of a heartbeat: some ten thousand instances
	beatTime = 10 * time.Second // to receive one
)

// Receiver takes heartbeats by HTTP, as HM9000 does: POST /dea/heartbeat is answered with 202, or with 400 when the body is
// empty or no heartbeat; anything longer than 4 MiB is refused. Each heartbeat is passed to take with the time of its
// arrival, from several goroutines at once: [Monitor.Heartbeat] fits. A nil logger discards.
//
// It does not ask who sends: serve it with a tls.Config that verifies client certificates, or where nobody else can reach it.
func Receiver(take func(messaging.Heartbeat, time.Time), log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dea/heartbeat", func(w http.ResponseWriter, r *http.Request) {
		// Where a server cannot do it, its own limits hold.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(beatTime))
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBeat))
		code := http.StatusBadRequest
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			code = http.StatusRequestEntityTooLarge
		}
		var beat messaging.Heartbeat
		if err == nil {
			beat, err = messaging.DEAHeartbeat.Decode(data)
		}
		if err != nil {
			log.Warn("heartbeat.refused", "from", r.RemoteAddr, "error", err)
			http.Error(w, err.Error(), code)
			return
		}
		take(beat, time.Now())
		w.WriteHeader(http.StatusAccepted)
	})
	return http.NewCrossOriginProtection().Handler(mux) // no web page has a heartbeat to send
}
