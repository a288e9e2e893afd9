package gardentest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"syscall"
	"time"

	"code.cloudfoundry.org/garden"

	"github.com/deakit/deakit/container"
)

// An adapter is a backend of Garden's server that runs any container.Backend.
type adapter struct {
	container.Backend

	mu    sync.Mutex
	known map[string]*guest
}

var _ garden.Backend = (*adapter)(nil)

func newAdapter(b container.Backend) *adapter {
	return &adapter{Backend: b, known: map[string]*guest{}}
}

func (a *adapter) Start() error                             { return nil }
func (a *adapter) Stop() error                              { return nil }
func (a *adapter) Ping() error                              { return nil }
func (a *adapter) GraceTime(garden.Container) time.Duration { return 0 }
func (a *adapter) Capacity() (garden.Capacity, error)       { return garden.Capacity{}, nil }

func (a *adapter) Create(spec garden.ContainerSpec) (garden.Container, error) {
	s := container.Spec{
		Handle: spec.Handle, RootFS: spec.Image.URI, Env: spec.Env,
		Limits: container.Limits{
			MemoryBytes: int64(spec.Limits.Memory.LimitInBytes), DiskBytes: int64(spec.Limits.Disk.ByteHard),
			DiskInodes: int64(spec.Limits.Disk.InodeHard), CPUShares: int64(spec.Limits.CPU.Weight), PIDs: int64(spec.Limits.Pid.Max),
		},
	}
	for _, m := range spec.BindMounts {
		s.BindMounts = append(s.BindMounts, container.BindMount{Src: m.SrcPath, Dst: m.DstPath, Writable: m.Mode == garden.BindMountModeRW})
	}
	c, err := a.Backend.Create(context.Background(), s)
	if err != nil {
		return nil, err
	}
	g := &guest{c: c, spec: spec, properties: maps.Clone(spec.Properties), ids: map[string]uint32{}}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[c.Handle()] = g
	return g, nil
}

func (a *adapter) find(handle string) (*guest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g, ok := a.known[handle]; ok {
		return g, nil
	}
	return nil, garden.ContainerNotFoundError{Handle: handle}
}

func (a *adapter) Lookup(handle string) (garden.Container, error) { return a.find(handle) }

func (a *adapter) Destroy(handle string) error {
	g, err := a.find(handle)
	if err != nil {
		return err
	}
	if err := g.c.Destroy(context.Background()); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, handle)
	return nil
}

func (a *adapter) Containers(garden.Properties) ([]garden.Container, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []garden.Container
	for _, g := range a.known {
		list = append(list, g)
	}
	return list, nil
}

func (a *adapter) BulkInfo([]string) (map[string]garden.ContainerInfoEntry, error) {
	return nil, errors.New("not needed")
}

func (a *adapter) BulkMetrics([]string) (map[string]garden.ContainerMetricsEntry, error) {
	return nil, errors.New("not needed")
}

// A guest is a container.
type guest struct {
	c    container.Container
	spec garden.ContainerSpec

	mu         sync.Mutex
	properties garden.Properties
	ids        map[string]uint32 // of processes, by the names that clients gave them
}

func (g *guest) Handle() string       { return g.c.Handle() }
func (g *guest) Stop(kill bool) error { return g.c.Stop(context.Background(), kill) }

func (g *guest) Info() (garden.ContainerInfo, error) {
	info, err := g.c.Info(context.Background())
	if err != nil {
		return garden.ContainerInfo{}, err
	}
	out := garden.ContainerInfo{
		State: string(info.State), HostIP: info.HostIP, ExternalIP: info.HostIP, ContainerIP: info.ContainerIP, ContainerPath: info.Path,
	}
	for _, event := range info.Events {
		out.Events = append(out.Events, strings.ToUpper(event[:1])+event[1:]) // as Guardian writes them
	}
	for _, m := range info.Ports {
		out.MappedPorts = append(out.MappedPorts, garden.PortMapping{HostPort: uint32(m.HostPort), ContainerPort: uint32(m.ContainerPort)})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	out.Properties = maps.Clone(g.properties)
	for name, id := range g.ids {
		for _, running := range info.Processes {
			if running == id {
				out.ProcessIDs = append(out.ProcessIDs, name)
			}
		}
	}
	return out, nil
}

func (g *guest) StreamIn(spec garden.StreamInSpec) error {
	return g.c.StreamIn(context.Background(), spec.Path, spec.User, spec.TarStream)
}

func (g *guest) StreamOut(spec garden.StreamOutSpec) (io.ReadCloser, error) {
	return g.c.StreamOut(context.Background(), spec.Path)
}

func (g *guest) CurrentBandwidthLimits() (garden.BandwidthLimits, error) {
	return g.spec.Limits.Bandwidth, nil
}
func (g *guest) CurrentCPULimits() (garden.CPULimits, error)       { return g.spec.Limits.CPU, nil }
func (g *guest) CurrentDiskLimits() (garden.DiskLimits, error)     { return g.spec.Limits.Disk, nil }
func (g *guest) CurrentMemoryLimits() (garden.MemoryLimits, error) { return g.spec.Limits.Memory, nil }

func (g *guest) NetIn(hostPort, containerPort uint32) (uint32, uint32, error) {
	m, err := g.c.NetIn(context.Background(), uint16(hostPort), uint16(containerPort))
	return uint32(m.HostPort), uint32(m.ContainerPort), err
}

func (g *guest) NetOut(rule garden.NetOutRule) error {
	protocol := map[garden.Protocol]container.Protocol{
		garden.ProtocolAll: container.AllProtocols, garden.ProtocolTCP: container.TCP, garden.ProtocolUDP: container.UDP,
		garden.ProtocolICMP: container.ICMP,
	}[rule.Protocol]
	r := container.EgressRule{Protocol: protocol, Log: rule.Log}
	for _, n := range rule.Networks {
		if n.Start == nil || n.End == nil {
			return errors.New("a network has no bounds")
		}
		r.Network = fmt.Sprintf("%s-%s", n.Start, n.End)
	}
	for _, p := range rule.Ports {
		r.Ports = fmt.Sprintf("%d:%d", p.Start, p.End)
	}
	return g.c.NetOut(context.Background(), r)
}

func (g *guest) BulkNetOut(rules []garden.NetOutRule) error {
	for _, rule := range rules {
		if err := g.NetOut(rule); err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) Run(spec garden.ProcessSpec, pio garden.ProcessIO) (garden.Process, error) {
	l := spec.Limits
	p, err := g.c.Run(context.Background(), container.ProcessSpec{
		Path: spec.Path, Args: spec.Args, Env: spec.Env, Dir: spec.Dir, User: spec.User,
		Rlimits: container.Rlimits{NoFile: l.Nofile, NProc: l.Nproc, FSize: l.Fsize, Core: l.Core, AS: l.As, CPU: l.Cpu, Stack: l.Stack},
	}, container.IO{Stdin: pio.Stdin, Stdout: pio.Stdout, Stderr: pio.Stderr})
	if err != nil {
		return nil, err
	}
	name := cmp.Or(spec.ID, fmt.Sprintf("unnamed-%d", p.ID()))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids[name] = p.ID()
	return process{name, p}, nil
}

func (g *guest) Attach(name string, pio garden.ProcessIO) (garden.Process, error) {
	g.mu.Lock()
	id, ok := g.ids[name]
	g.mu.Unlock()
	if !ok {
		return nil, garden.ProcessNotFoundError{ProcessID: name}
	}
	p, err := g.c.Attach(context.Background(), id, container.IO{Stdout: pio.Stdout, Stderr: pio.Stderr})
	if err != nil {
		return nil, err
	}
	return process{name, p}, nil
}

func (g *guest) Metrics() (m garden.Metrics, err error) {
	u, err := g.c.Usage(context.Background())
	if err != nil {
		return m, err
	}
	m.MemoryStat.TotalUsageTowardLimit = uint64(u.MemoryBytes)
	m.CPUStat.Usage = uint64(u.CPUTime)
	m.DiskStat.ExclusiveBytesUsed = uint64(u.DiskBytes)
	m.PidStat.Current = uint64(u.Processes)
	return m, nil
}

func (g *guest) SetGraceTime(time.Duration) error { return nil }

func (g *guest) Properties() (garden.Properties, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.properties), nil
}

func (g *guest) Property(name string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.properties[name], nil
}

func (g *guest) SetProperty(name, value string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.properties == nil {
		g.properties = garden.Properties{}
	}
	g.properties[name] = value
	return nil
}

func (g *guest) RemoveProperty(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.properties, name)
	return nil
}

// A process is one under the name that its client gave it.
type process struct {
	name string
	container.Process
}

func (p process) ID() string { return p.name }

func (p process) Wait() (int, error) {
	status, err := p.Process.Wait(context.Background())
	return int(status), err
}

func (p process) SetTTY(garden.TTYSpec) error { return nil }

func (p process) Signal(sig garden.Signal) error {
	number := syscall.SIGTERM
	if sig == garden.SignalKill {
		number = syscall.SIGKILL
	}
	return p.Process.Signal(context.Background(), number)
}
