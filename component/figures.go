package component

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"time"
)

// metrics is the body of /metrics: figures of the process and its machine, and what the owner adds. What the kernel does not
// tell is left out and logged.
func (c *Component) metrics(ctx context.Context) ([]byte, error) {
	all := slices.Concat(c.figures(), c.cfg.Metrics(ctx))
	var body bytes.Buffer
	if err := WriteMetrics(&body, all); err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

func (c *Component) figures() []Metric {
	info := map[string]string{"type": c.cfg.Type, "index": strconv.Itoa(c.cfg.Index), "uuid": c.cfg.UUID}
	figures := []Metric{
		{"component_info", "What the process is; always 1.", Gauge, []Sample{{info, 1}}},
		NewGauge("component_uptime_seconds", "Time since the component was made.", time.Since(c.start).Seconds()),
		NewCounter("process_cpu_seconds_total", "Processor time that the process has used.", cpuTime().Seconds()),
	}
	if memory, err := residentMemory(proc); err == nil {
		figures = append(figures, NewGauge("process_resident_memory_bytes", "Memory that the process occupies.", float64(memory)))
	} else {
		c.unknown(err)
	}
	if host, err := readHost(proc); err == nil {
		figures = append(figures,
			NewGauge("host_load1", "Average load of the machine over one minute.", host.load),
			NewGauge("host_memory_used_bytes", "Memory of the machine that is in use.", float64(host.used)),
			NewGauge("host_memory_free_bytes", "Memory of the machine that could be given out.", float64(host.free)))
	} else {
		c.unknown(err)
	}
	if c.cfg.LogCounts != nil {
		lines := Metric{Name: "component_log_lines_total", Help: "Lines of the log by level.", Kind: Counter}
		for level, count := range c.cfg.LogCounts.Counts() {
			lines.Samples = append(lines.Samples, Sample{map[string]string{"level": level}, float64(count)})
		}
		figures = append(figures, lines)
	}
	return figures
}
