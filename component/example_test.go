package component_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/deakit/deakit/component"
)

// Example shows the figures of a process that has a server of its own. One that has none, and is to be found by collectors,
// sets Config.Conn and calls Run instead.
func Example() {
	var counts component.LogCounts
	logger := slog.New(counts.Handler(slog.NewTextHandler(os.Stderr, nil)))

	c, err := component.New(component.Config{
		Type: "Cache", User: "collector", Password: "secret", LogCounts: &counts, Logger: logger,
		Metrics: func(context.Context) []component.Metric {
			return []component.Metric{component.NewGauge("cache_entries", "Entries in the cache.", 42)}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(c.Handler())
	defer server.Close()

	req, err := http.NewRequest(http.MethodGet, server.URL+"/healthz", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.SetBasicAuth("collector", "secret")
	resp, err := server.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s", resp.Status, body)
	// Output: 200 OK: ok
}
