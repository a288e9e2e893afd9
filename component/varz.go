package component

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"time"

	"github.com/deakit/deakit/messaging"
)

// proc is where the kernel tells of the process and the machine.
var proc = os.DirFS("/proc")

// varz is the body of /varz. What the kernel does not tell is left out and logged.
func (c *Component) varz(ctx context.Context) ([]byte, error) {
	values := map[string]any{}
	maps.Copy(values, c.cfg.Varz(ctx))
	record := c.Record()
	maps.Copy(values, map[string]any{
		"type": record.Type, "index": record.Index, "uuid": record.UUID, "host": record.Host,
		"credentials": record.Credentials, "start": record.Start, "uptime": messaging.Uptime(time.Since(c.start)),
		"cpu": c.cpuPercent(), "num_cores": runtime.NumCPU(),
	})
	if memory, err := residentMemory(proc); err == nil {
		values["mem_bytes"] = memory
	} else {
		c.unknown(err)
	}
	if host, err := readHost(proc); err == nil {
		values["cpu_load_avg"], values["mem_used_bytes"], values["mem_free_bytes"] = host.load, host.used, host.free
	} else {
		c.unknown(err)
	}
	if c.cfg.LogCounts != nil {
		values["log_counts"] = c.cfg.LogCounts.Counts()
	}

	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(values); err != nil {
		return nil, fmt.Errorf("encode the values of varz: %w", err)
	}
	return body.Bytes(), nil
}

func (c *Component) unknown(err error) { c.log.Warn("component.figures.unknown", "error", err) }

// cpuPercent is the processor time that the process has used since the component was made, as a part of that time: 100 is
// one whole core. It is an average over the life, as the original has it from ps.
func (c *Component) cpuPercent() float64 {
	elapsed := time.Since(c.start)
	if elapsed <= 0 {
		return 0
	}
	return 100 * float64(cpuTime()-c.cpu) / float64(elapsed)
}
