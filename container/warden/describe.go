package warden

import (
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// ping answers that the server lives, and tells those who ask what its containers are confined by.
func (c *session) ping(r *protocol.PingRequest) *protocol.PingResponse {
	response := &protocol.PingResponse{}
	if r.GetDescribe() {
		response.Description = describe(c.s.backend.Capabilities())
	}
	return response
}

func describe(caps container.Capabilities) *protocol.Description {
	return &protocol.Description{
		Name: &caps.Name, RootFs: &caps.RootFS, Users: &caps.Users, ReadOnlyMounts: &caps.ReadOnlyMounts,
		Network: &caps.Network, PortMapping: &caps.PortMapping, EgressRules: &caps.EgressRules, Processes: &caps.Processes,
		Memory: proto.String(string(caps.Memory)), Cpu: proto.String(string(caps.CPU)),
		Disk: proto.String(string(caps.Disk)), Bandwidth: proto.String(string(caps.Bandwidth)),
	}
}

// understand is the inverse of describe. What the protocol cannot ask for is not enforced: a limit of processes.
func understand(d *protocol.Description) container.Capabilities {
	return container.Capabilities{
		Name: "warden over " + d.GetName(), RootFS: d.GetRootFs(), Users: d.GetUsers(), ReadOnlyMounts: d.GetReadOnlyMounts(),
		Network: d.GetNetwork(), PortMapping: d.GetPortMapping(), EgressRules: d.GetEgressRules(), Processes: d.GetProcesses(),
		Memory: container.Enforcement(d.GetMemory()), CPU: container.Enforcement(d.GetCpu()),
		Disk: container.Enforcement(d.GetDisk()), Bandwidth: container.Enforcement(d.GetBandwidth()),
		Survives: true,
	}
}

// linuxCapabilities are those of the containers of the original on Linux. It does not tell; its insecure containers, which
// nobody should use, confine nothing.
var linuxCapabilities = container.Capabilities{
	Name: "warden", RootFS: true, Users: true, ReadOnlyMounts: true, Network: true, PortMapping: true, EgressRules: true,
	Processes: true, Survives: true, Memory: container.ByKernel, CPU: container.ByKernel, Disk: container.ByKernel,
	Bandwidth: container.ByKernel,
}
