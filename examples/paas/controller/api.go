package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxPackageBytes bounds an uploaded package or buildpack.
const MaxPackageBytes = 1 << 30

// Info tells a client where things are.
type Info struct {
	Domain string `json:"domain"`
	Router string `json:"router"` // host:port that serves the apps and their files, by Host header
	NATS   string `json:"nats"`
}

// A PushLine is one line of the answer to a push: something that happened, or as the last line the result.
type PushLine struct {
	Event *Event `json:"event,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"` // with Done: why the push failed
	Kind  string `json:"kind,omitempty"`  // with Error: "staging" or "rollout"

	Instance string `json:"instance,omitempty"` // with Error: the one that crashed, if one did
}

// API returns the HTTP interface of the controller. It trusts whoever reaches it: serve it on loopback only. Web pages
// that the user of this machine looks at do not reach it: requests from other origins are refused, and so are requests
// to a host name that only pretends to be this machine.
func (c *Controller) API(info Info) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/info", func(w http.ResponseWriter, _ *http.Request) { answer(w, info) })
	mux.HandleFunc("GET /v1/apps", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Apps()) })
	mux.HandleFunc("GET /v1/deas", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.DEAs()) })
	mux.HandleFunc("POST /v1/deas/{id}/evacuate", func(w http.ResponseWriter, r *http.Request) {
		evacuation, err := c.Evacuate(r.PathValue("id"), r.FormValue("force") != "")
		answerOrFail(w, evacuation, err)
	})
	mux.HandleFunc("GET /v1/events", c.serveEvents)
	mux.HandleFunc("PUT /v1/buildpacks/{key}", func(w http.ResponseWriter, r *http.Request) {
		body := http.MaxBytesReader(w, r.Body, MaxPackageBytes)
		answerOrFail(w, struct{}{}, c.blobs.PutBuildpack(r.Context(), r.PathValue("key"), body))
	})
	mux.HandleFunc("GET /v1/apps/{name}", func(w http.ResponseWriter, r *http.Request) {
		view, err := c.App(r.Context(), r.PathValue("name"))
		answerOrFail(w, view, err)
	})
	mux.HandleFunc("DELETE /v1/apps/{name}", func(w http.ResponseWriter, r *http.Request) {
		answerOrFail(w, struct{}{}, c.Delete(r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/apps/{name}/stop", func(w http.ResponseWriter, r *http.Request) {
		answerOrFail(w, struct{}{}, c.Stop(r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/apps/{name}/start", func(w http.ResponseWriter, r *http.Request) {
		answerOrFail(w, struct{}{}, c.Start(r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/apps/{name}/scale", func(w http.ResponseWriter, r *http.Request) {
		instances, err := number(r, "instances", 0)
		if err == nil {
			err = c.Scale(r.PathValue("name"), instances)
		}
		answerOrFail(w, struct{}{}, err)
	})
	mux.HandleFunc("GET /v1/apps/{name}/files", func(w http.ResponseWriter, r *http.Request) {
		index, err := number(r, "index", 0)
		if err != nil {
			fail(w, err)
			return
		}
		url, err := c.FileURL(r.Context(), r.PathValue("name"), index, r.FormValue("path"))
		answerOrFail(w, map[string]string{"url": url}, err)
	})
	mux.HandleFunc("GET /v1/apps/{name}/logs", c.serveLogs)
	mux.HandleFunc("POST /v1/apps/{name}/push", c.servePush)
	return localOnly(http.NewCrossOriginProtection().Handler(mux))
}

// localOnly refuses requests whose Host is not a name of the loopback interface.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this API answers on loopback only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// servePush takes a package and answers with what happens to it, line by line.
func (c *Controller) servePush(w http.ResponseWriter, r *http.Request) {
	settings, err := settingsOf(r)
	if err != nil {
		fail(w, err)
		return
	}
	guid, err := c.Prepare(settings)
	if err != nil {
		fail(w, err)
		return
	}
	if err := c.blobs.PutPackage(r.Context(), guid, http.MaxBytesReader(w, r.Body, MaxPackageBytes)); err != nil {
		c.Abandon(guid)
		fail(w, fmt.Errorf("store the package: %w", err))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	since := c.events.last()
	var result error
	finished := make(chan struct{})
	go func() { defer close(finished); defer cancel(); result = c.Push(ctx, guid, settings) }()
	defer func() { cancel(); <-finished }()

	w.Header().Set("Content-Type", "application/x-ndjson")
	line := lineWriter(w)
	// The end of the push ends ctx, and that ends the loop, but only after the last event was told.
	for e := range c.events.follow(ctx, since) {
		if e.App == settings.Name && line(PushLine{Event: &e}) != nil {
			return
		}
	}
	if r.Context().Err() != nil {
		return // the client is gone
	}
	<-finished
	last := PushLine{Done: true}
	if result != nil {
		last.Error, last.Kind = result.Error(), "rollout"
		if failure := new(StagingError); errors.As(result, &failure) {
			last.Kind = "staging"
		}
		if crash := new(CrashError); errors.As(result, &crash) {
			last.Instance = crash.Instance
		}
	}
	_ = line(last) // nobody else is left to tell
}

func settingsOf(r *http.Request) (Settings, error) {
	q := r.URL.Query()
	s := Settings{
		Name: r.PathValue("name"), Env: q["env"], Routes: q["route"], Command: q.Get("command"), Buildpack: q.Get("buildpack"),
		Framework: q.Get("framework"), Runtime: q.Get("runtime"),
	}
	var errs [3]error
	var memory, disk int
	s.Instances, errs[0] = number(r, "instances", 0)
	memory, errs[1] = number(r, "memory_mb", 0)
	disk, errs[2] = number(r, "disk_mb", 0)
	s.MemoryMB, s.DiskMB = int64(memory), int64(disk)
	return s, errors.Join(errs[:]...)
}

func number(r *http.Request, name string, otherwise int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %s must be a whole number", ErrSettings, name)
	}
	return n, nil
}

func (c *Controller) serveEvents(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after", 0)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := lineWriter(w)
	if r.URL.Query().Get("follow") == "" {
		events, _, _ := c.events.after(int64(after))
		for _, e := range events {
			if lines(e) != nil {
				return
			}
		}
		return
	}
	for e := range c.events.follow(r.Context(), int64(after)) {
		if lines(e) != nil {
			return
		}
	}
}

func (c *Controller) serveLogs(w http.ResponseWriter, r *http.Request) {
	lines, err := c.Logs(r.Context(), r.PathValue("name"), r.FormValue("follow") != "")
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	write := lineWriter(w)
	for line := range lines {
		if write(line) != nil {
			return
		}
	}
}

// lineWriter writes values as lines of JSON, each sent at once.
func lineWriter(w http.ResponseWriter) func(any) error {
	control := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	_ = control.Flush() // the header leaves now; a failure shows at the first line
	return func(v any) error {
		_ = control.SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has deadlines
		if err := encoder.Encode(v); err != nil {
			return err
		}
		return control.Flush()
	}
}

func answerOrFail(w http.ResponseWriter, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, v)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only when the client is gone
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, ErrNoApp), errors.Is(err, ErrNoDEA):
		status = http.StatusNotFound
	case errors.Is(err, ErrBusy), errors.Is(err, ErrLastDEA), errors.Is(err, ErrLeaving), errors.Is(err, ErrElsewhere),
		errors.Is(err, ErrAmbiguous):
		status = http.StatusConflict
	case errors.Is(err, ErrSettings), errors.Is(err, io.ErrUnexpectedEOF):
		status = http.StatusBadRequest
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
