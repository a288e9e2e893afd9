package dea

import (
	"strconv"
	"strings"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/messaging"
)

// Metrics returns the figures of a DEA for component.Config.Metrics. They are those that dea_ng sent to loggregator, by
// names of Prometheus:
//
//	remaining_memory, remaining_disk (MB)     dea_remaining_memory_bytes, dea_remaining_disk_bytes
//	available_memory_ratio, …_disk_ratio      dea_available_memory_ratio, dea_available_disk_ratio
//	instances                                 dea_instances
//	reservable_stagers                        dea_reservable_stagers
//	dea_registry_<state>                      dea_registry_instances{state="<state>"}
//	container metric: cpu (percent)           dea_instance_cpu_cores{app,index,instance}: 1 is one whole core
//	container metric: memory, disk            dea_instance_memory_bytes, dea_instance_disk_bytes {app,index,instance}
//
// Uptime and the figures of the machine come from package component. staging is as in Varz.
func (d *DEA) Metrics(staging resources.Amount) []component.Metric {
	left := d.parts.Ledger.Remaining()
	memory, disk := d.availableRatios()
	instances := d.registry.All()
	metrics := []component.Metric{
		component.NewGauge("dea_remaining_memory_bytes", "Memory that is not reserved.", float64(left.MemoryBytes)),
		component.NewGauge("dea_remaining_disk_bytes", "Disk that is not reserved.", float64(left.DiskBytes)),
		component.NewGauge("dea_available_memory_ratio", "Part of the memory that is not reserved.", memory),
		component.NewGauge("dea_available_disk_ratio", "Part of the disk that is not reserved.", disk),
		component.NewGauge("dea_instances", "Instances in any state.", float64(len(instances))),
		component.NewGauge("dea_reservable_stagers", "Staging tasks for which there is room.",
			float64(d.parts.Ledger.Reservable(staging))),
	}

	counts := map[messaging.State]int{}
	cpu := component.Metric{Name: "dea_instance_cpu_cores", Help: "Cores that an instance uses.", Kind: component.Gauge}
	ram := component.Metric{Name: "dea_instance_memory_bytes", Help: "Memory that an instance uses.", Kind: component.Gauge}
	files := component.Metric{Name: "dea_instance_disk_bytes", Help: "Disk that an instance uses.", Kind: component.Gauge}
	for _, i := range instances {
		s := i.Status()
		counts[s.State]++
		if !s.Healthy() || s.Usage.At.IsZero() {
			continue // nothing was measured, or it is over
		}
		labels := map[string]string{"app": i.App(), "index": strconv.Itoa(i.Index()), "instance": s.ID}
		cpu.Samples = append(cpu.Samples, component.Sample{Labels: labels, Value: s.CPU})
		ram.Samples = append(ram.Samples, component.Sample{Labels: labels, Value: float64(s.Usage.MemoryBytes)})
		files.Samples = append(files.Samples, component.Sample{Labels: labels, Value: float64(s.Usage.DiskBytes)})
	}

	states := component.Metric{Name: "dea_registry_instances", Help: "Instances by state.", Kind: component.Gauge}
	for _, state := range messaging.States() {
		if state == messaging.Deleted {
			continue // no instance is ever in it
		}
		labels := map[string]string{"state": strings.ToLower(string(state))}
		states.Samples = append(states.Samples, component.Sample{Labels: labels, Value: float64(counts[state])})
	}
	return append(metrics, states, cpu, ram, files)
}
