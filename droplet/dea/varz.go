package dea

import (
	"context"
	"strings"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// Varz returns what a DEA shows on /varz (dea_ng), for component.Config.Varz: stacks, can_stage, reservable_stagers,
// available_memory_ratio, available_disk_ratio, instance_registry (app guid, instance guid, attributes) and
// warden_containers, which is left out when the back end cannot list them within ctx.
//
// staging is what one staging task reserves here; the zero Amount says that nothing is staged.
//
// Other than in dea_ng until 2015 the attributes of an instance hold no services, environment and droplet_uri, and never the
// start command: people write secrets there too.
func (d *DEA) Varz(ctx context.Context, staging resources.Amount) map[string]any {
	memory, disk := d.availableRatios()
	stagers := d.parts.Ledger.Reservable(staging)
	values := map[string]any{
		"stacks": d.cfg.Stacks, "reservable_stagers": stagers, "can_stage": min(stagers, 1),
		"available_memory_ratio": memory, "available_disk_ratio": disk,
		"instance_registry": d.attributesByApp(),
	}
	handles, err := d.parts.Backend.List(ctx)
	if err != nil {
		d.log.Warn("dea.varz.containers", "error", err)
		return values
	}
	if handles == nil {
		handles = []string{} // a list for whoever counts them
	}
	values["warden_containers"] = handles
	return values
}

// availableRatios are the parts of memory and disk that are not reserved: 0 to 1, and below zero when more is reserved than
// there is. Of nothing, nothing is available.
func (d *DEA) availableRatios() (memory, disk float64) {
	capacity, reserved := d.parts.Ledger.Capacity(), d.parts.Ledger.Reserved()
	ratio := func(reserved, capacity int64) float64 {
		if capacity <= 0 {
			return 0
		}
		return 1 - float64(reserved)/float64(capacity)
	}
	return ratio(reserved.MemoryBytes, capacity.MemoryBytes), ratio(reserved.DiskBytes, capacity.DiskBytes)
}

func (d *DEA) attributesByApp() map[string]map[string]map[string]any {
	apps := map[string]map[string]map[string]any{}
	for _, i := range d.registry.All() {
		if apps[i.App()] == nil {
			apps[i.App()] = map[string]map[string]any{}
		}
		s := i.Status()
		apps[i.App()][s.ID] = attributes(i, s)
	}
	return apps
}

// attributes of an instance by the names of dea_ng. Null stands for what is not known or not there.
func attributes(i *instance.Instance, s instance.Status) map[string]any {
	m := i.Message()
	uris := s.URIs
	if uris == nil {
		uris = []string{}
	}
	all := map[string]any{
		"cc_partition": m.CCPartition, "application_id": i.App(), "application_name": m.Name, "application_version": s.Version,
		"application_uris": uris, "instance_id": s.ID, "instance_index": i.Index(), "limits": m.Limits,
		"droplet_sha1": orNull(m.SHA1), "stack": orNull(m.Stack),
		"state": s.State, "state_timestamp": messaging.SecondsOf(s.Since),
		"warden_handle": orNull(s.Handle), "warden_job_id": orNull(s.ProcessID),
		"warden_container_path": orNull(s.Container.Path), "warden_host_ip": orNull(s.Container.HostIP),
		"warden_container_ip": orNull(s.Container.ContainerIP),
		"instance_host_port":  orNull(s.HostPort), "instance_container_port": orNull(s.Port),
		"exit_status": s.ExitStatus, "exit_description": s.ExitDescription,
		"used_memory_in_bytes": s.Usage.MemoryBytes, "used_disk_in_bytes": s.Usage.DiskBytes, "computed_pcpu": s.CPU,
	}
	if !s.StartedAt.IsZero() {
		all["state_starting_timestamp"] = messaging.SecondsOf(s.StartedAt)
	}
	all["state_"+strings.ToLower(string(s.State))+"_timestamp"] = messaging.SecondsOf(s.Since)
	return all
}

// orNull returns v for JSON, or null in place of a zero that means "none".
func orNull[T comparable](v T) any {
	var none T
	if v == none {
		return nil
	}
	return v
}
