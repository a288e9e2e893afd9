package platform

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/examples/internal/backends"
)

// linesPerSecond bounds what one instance may write to the log of its app.
const linesPerSecond = 1000

// A deaNode is a DEA with what it works with, as it would stand on a machine of its own.
type deaNode struct {
	dea     *dea.DEA
	lines   *applog.NATS // of its apps
	fileAPI *fileAPI
	close   func()
}

// containers is where a node keeps its containers.
func (p *Platform) containers(name string) backends.Config {
	return backends.Config{
		Depot: p.path(name, "containers"), HostIP: "127.0.0.1", Logger: p.log.With("part", name),
		Fresh: true, // nobody here knows the containers of an earlier run
		Hide:  []string{p.opts.Dir},
	}
}

// chooseBackend finds what all nodes take, and says why.
func (p *Platform) chooseBackend(ctx context.Context) (err error) {
	p.backend, err = backends.Choose(ctx, p.opts.Backend, p.containers("stager"))
	if err == nil {
		p.log.Info("platform.backend", "backend", p.backend.Name, "because", p.backend.Why)
	}
	return err
}

// openBackend opens the back end of a node. The caller closes it.
func (p *Platform) openBackend(ctx context.Context, name string) (container.Backend, func(), error) {
	backend, err := backends.Open(ctx, p.backend, p.containers(name))
	if err != nil {
		return nil, nil, err
	}
	return backend, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := backend.Close(ctx); err != nil {
			p.log.Error("platform.backend.close", "part", name, "error", err)
		}
	}, nil
}

func (p *Platform) openDEAs(ctx context.Context) error {
	for index := range p.opts.DEAs {
		if err := ctx.Err(); err != nil {
			return err
		}
		node, err := p.openDEA(ctx, index)
		if err != nil {
			return err
		}
		p.deas = append(p.deas, node)
		p.onClose(node.close)
	}
	return nil
}

func (p *Platform) openDEA(ctx context.Context, index int) (*deaNode, error) {
	name := fmt.Sprintf("dea-%d", index)
	log := p.log.With("part", name)
	conn, err := p.connect(name)
	if err != nil {
		return nil, err
	}
	backend, closeBackend, err := p.openBackend(ctx, name)
	if err != nil {
		return nil, err
	}
	store, err := droplet.NewStore(p.path(name, "droplets"), droplet.StoreOptions{Logger: log})
	if err != nil {
		closeBackend()
		return nil, err
	}
	node := &deaNode{close: func() {
		closeBackend()
		if err := store.Close(); err != nil {
			log.Warn("platform.store.close", "error", err)
		}
	}}
	signer, err := directory.NewSigner(directory.SignerConfig{})
	if err != nil {
		node.close()
		return nil, err
	}
	node.lines, err = applog.NewNATS(applog.NATSConfig{Conn: conn, Logger: log})
	if err != nil {
		node.close()
		return nil, err
	}
	host := directory.NewToken() + "." + p.opts.Domain
	node.dea, err = dea.New(dea.Config{
		Index: index, BaseDir: p.path(name), HostIP: "127.0.0.1", Zone: fmt.Sprintf("z%d", index+1),
		FilesHost: host, FilesPort: p.files.port(),
		Instance: instance.Config{RouteDrain: 200 * time.Millisecond},
	}, dea.Parts{
		Conn: conn, Backend: backend, Droplets: store, Signer: signer, Logger: log,
		Logs: node.lines, LogLines: linesPerSecond,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: p.opts.MemoryMB << 20, DiskBytes: 64 << 30}),
	})
	if err == nil {
		node.fileAPI, err = newFileAPI(directory.NewLocal(signer, node.dea), log)
	}
	if err == nil {
		err = p.files.add(host, node.fileAPI.url(), p.path(name))
	}
	if err != nil {
		node.close()
		return nil, err
	}
	return node, nil
}

// Run works until the DEA has left.
func (n *deaNode) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	beside, endBeside := context.WithCancel(context.WithoutCancel(ctx)) // what the DEA needs until it has ended
	group.Go(func() error { return n.fileAPI.Run(beside) })
	group.Go(func() error { return n.lines.Run(beside) })
	group.Go(func() error {
		defer endBeside()
		return n.dea.Run(ctx)
	})
	return group.Wait()
}

// port of a listener on loopback.
func port(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
