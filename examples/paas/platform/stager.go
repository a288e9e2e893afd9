package platform

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/stager"
)

// A stagerNode is a stager with what it works with, as it would stand on a machine of its own.
type stagerNode struct {
	stager  *stager.Stager
	fileAPI *fileAPI
	conn    *nats.Conn
	route   messaging.Route // of its files
}

// stagingFiles are the files that a stager shows: it has no instances.
type stagingFiles struct{ *stager.Stager }

// Instance implements directory.Lookup.
func (stagingFiles) Instance(context.Context, string) (directory.Tree, error) {
	return directory.Tree{}, directory.ErrUnknown
}

func (p *Platform) openStager(ctx context.Context) error {
	const name = "stager"
	log := p.log.With("part", name)
	conn, err := p.connect(name)
	if err != nil {
		return err
	}
	backend, closeBackend, err := p.openBackend(ctx, name)
	if err != nil {
		return err
	}
	p.onClose(closeBackend)
	packs, err := buildpack.OpenStore(p.path(name, "admin_buildpacks"), buildpack.StoreOptions{Logger: log})
	if err != nil {
		return err
	}
	p.onClose(func() {
		if err := packs.Close(); err != nil {
			log.Warn("platform.store.close", "error", err)
		}
	})
	signer, err := directory.NewSigner(directory.SignerConfig{})
	if err != nil {
		return err
	}
	host := directory.NewToken() + "." + p.opts.Domain
	s, err := stager.New(stager.Config{
		ID: "stager-" + directory.NewToken(), BaseDir: p.path(name),
		// The platform is for its own user, whose repositories are no secret to it.
		Git:   buildpack.GitOptions{Schemes: []string{"https", "http", "git", "file"}},
		Adapt: byFramework(framework.BuildpackOptions{Unbound: true, TempDir: p.path(name)}),
		LogURL: func(task, path string) string {
			return signer.StagingURL("http://"+host, task, &path)
		},
	}, stager.Parts{
		Conn: conn, Backend: backend, Buildpacks: packs, Logger: log,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: p.opts.MemoryMB << 20, DiskBytes: 64 << 30}),
	})
	if err != nil {
		return err
	}
	api, err := newFileAPI(directory.NewLocal(signer, stagingFiles{s}), log)
	if err != nil {
		return err
	}
	p.onClose(func() { _ = api.listener.Close() }) // closed already where Run was called
	p.stager = &stagerNode{stager: s, fileAPI: api, conn: conn}
	// The stager has no route of its own in dea_ng, where the DEA beside it has one; here it registers one likewise.
	p.stager.route = messaging.Route{
		URIs: []string{host}, Host: "127.0.0.1", Port: p.files.port(), Tags: map[string]string{"component": "directory-server-stager"},
	}
	return p.files.add(host, api.url(), p.path(name))
}

// Run works until ctx ends.
func (n *stagerNode) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	api, endAPI := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return n.fileAPI.Run(api) })
	group.Go(func() error {
		defer endAPI()
		return n.stager.Run(ctx)
	})
	group.Go(func() error { return n.keepRoute(ctx) })
	return group.Wait()
}

// keepRoute registers the route of the staging logs, again and again, as routers expect.
func (n *stagerNode) keepRoute(ctx context.Context) error {
	in := messaging.NewInbox(n.conn, nil)
	defer in.Close()
	register := func() { _ = messaging.RouterRegister.Publish(n.conn, n.route) } // the next time comes soon
	err := messaging.Handle(in, messaging.RouterStart, func(context.Context, messaging.RouterHello) { register() })
	if err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Second)
	defer ticker.Stop()
	register()
	for {
		select {
		case <-ctx.Done():
			return messaging.RouterUnregister.Publish(n.conn, n.route)
		case msg := <-in.C():
			in.Dispatch(ctx, msg)
		case <-ticker.C:
			register()
		}
	}
}
