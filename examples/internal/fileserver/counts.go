package fileserver

import (
	"strconv"
	"sync"

	"github.com/deakit/deakit/component"
)

// counts are figures about requests.
type counts struct {
	mu              sync.Mutex
	answers         map[int]float64 // by status
	requests, tails int             // under way; a tail is a request too
	unfinished      map[string]float64
	bytes           int64 // of bodies
}

func newCounts() counts {
	return counts{answers: map[int]float64{}, unfinished: map[string]float64{client: 0, idle: 0, closed: 0, failed: 0}}
}

func (c *counts) begin(tail bool) { c.step(tail, 1) }

// step counts requests that have come or, with -1, gone.
func (c *counts) step(tail bool, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests += by
	if tail {
		c.tails += by
	}
}

func (c *counts) end(tail bool, answer *recorder, reason string) {
	c.step(tail, -1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[answer.status]++
	c.bytes += answer.bytes
	if reason != "" {
		c.unfinished[reason]++
	}
}

func (c *counts) metrics() []component.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := component.Metric{Name: "directory_requests_total", Help: "Requests that were answered, by status.", Kind: component.Counter}
	for status, n := range c.answers {
		answers.Samples = append(answers.Samples, component.Sample{Labels: map[string]string{"status": strconv.Itoa(status)}, Value: n})
	}
	unfinished := component.Metric{
		Name: "directory_unfinished_total", Help: "Answers that ended without their end, by reason: client, idle, closed, failed.", Kind: component.Counter,
	}
	for reason, n := range c.unfinished {
		unfinished.Samples = append(unfinished.Samples, component.Sample{Labels: map[string]string{"reason": reason}, Value: n})
	}
	return []component.Metric{
		answers, unfinished,
		component.NewGauge("directory_requests", "Requests that are being answered, tails included.", float64(c.requests)),
		component.NewGauge("directory_tails", "Tails that are being sent.", float64(c.tails)),
		component.NewCounter("directory_sent_bytes_total", "Bytes of bodies that were sent.", float64(c.bytes)),
	}
}
