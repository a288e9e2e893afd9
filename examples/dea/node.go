package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/container/metered"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/fileserver"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/stager"
)

// A node is a DEA with all that stands beside it in one process.
type node struct {
	cfg *config.Config
	log *log

	id, host string // of the DEA
	files    string // URL that signed URLs begin with

	conn     *nats.Conn
	backend  *metered.Backend
	inner    *backends.Backend // inside of it
	ledger   *resources.Ledger
	droplets *droplet.Store
	signer   *directory.Signer
	stager   *stager.Stager // nil when staging is off
	poster   *heartbeat.Poster
	lines    applog.Emitter // nil: nobody wants the lines of apps
	dea      *dea.DEA
	served   *fileserver.Server // the directory server; nil where it stands apart
	servers  []server           // beside the DEA

	lineStats []func() applog.Stats // of the emitters

	closers []func() error
}

// open builds all parts of a node and starts none. The caller calls run.
func open(cfg *config.Config, c *cli, l *log) (n *node, err error) {
	base, err := filepath.Abs(cfg.BaseDir)
	if err != nil {
		return nil, err
	}
	cfg.BaseDir = base
	n = &node{
		cfg: cfg, log: l, id: fmt.Sprintf("%d-%s", cfg.Index, directory.NewToken()), host: cfg.Deakit.Host,
		ledger: resources.NewLedger(cfg.Capacity()),
	}
	if n.host == "" {
		n.host = component.LocalIP()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.closeBackend(true), n.close())
		}
	}()
	for _, step := range []func() error{
		n.makeDirectories, n.connect, func() error { return n.openBackend(c.Backend, c.Config) }, n.openDroplets, n.openSigner, n.nameFiles,
		n.openEmitters, n.openStager, n.openPoster, n.openDEA, n.openStatus, n.openHTTPS,
		func() error { return n.openFiles(!c.NoDirectoryServer) },
	} {
		if err := step(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (n *node) path(names ...string) string {
	return filepath.Join(append([]string{n.cfg.BaseDir}, names...)...)
}

func (n *node) makeDirectories() error {
	if err := os.MkdirAll(n.cfg.BaseDir, 0o755); err != nil {
		return fmt.Errorf("base_dir: %w", err)
	}
	return nil
}

func (n *node) connect() (err error) {
	n.conn, err = messaging.Connect(messaging.Config{
		Servers: n.cfg.NATSURLs(), Name: fmt.Sprintf("dea-%d", n.cfg.Index), Logger: n.log.Logger,
	})
	if err != nil {
		return err
	}
	n.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return messaging.Drain(ctx, n.conn)
	})
	return nil
}

// containers is where this node keeps its containers. file is its configuration.
func containers(cfg *config.Config, file, host string, log *slog.Logger) backends.Config {
	hide := []string{cfg.BaseDir, file}
	if cfg.SSL != nil {
		hide = append(hide, cfg.SSL.KeyFile)
	}
	if cfg.HM9000 != nil {
		hide = append(hide, cfg.HM9000.KeyFile)
	}
	if urls := cfg.Deakit.FileURLs; urls != nil && urls.PrivateKeyFile != "" {
		hide = append(hide, urls.PrivateKeyFile)
	}
	return backends.Config{
		Depot: filepath.Join(cfg.BaseDir, "instances"), HostIP: host, Hide: hide, WardenSocket: cfg.WardenSocket,
		GardenSocket: cfg.Deakit.GardenSocket, Logger: log,
	}
}

// openBackend chooses what apps run in, and says why.
func (n *node) openBackend(name, file string) error {
	where := containers(n.cfg, file, n.host, n.log.Logger)
	choice, err := backends.Choose(context.Background(), name, where)
	if err != nil {
		return err
	}
	n.inner, err = backends.Open(context.Background(), choice, where)
	if err != nil {
		return fmt.Errorf("back end %s below base_dir: %w", choice.Name, err)
	}
	n.backend = metered.New(n.inner)
	n.log.Info("dea.backend", "backend", choice.Name, "because", choice.Why)
	return nil
}

func (n *node) openDroplets() (err error) {
	n.droplets, err = droplet.NewStore(n.path("droplets"), droplet.StoreOptions{Logger: n.log.Logger})
	if err == nil {
		n.onClose(n.droplets.Close)
	}
	return err
}

func (n *node) openSigner() (err error) {
	urls := n.cfg.Deakit.FileURLs
	keys, err := urls.ReadKeys()
	if err != nil {
		return err
	}
	cfg := directory.SignerConfig{Keys: keys.Texts, PrivateKey: keys.Private, PublicKeys: keys.Public}
	if urls != nil {
		cfg.MaxAge = urls.Lifetime
	}
	n.signer, err = directory.NewSigner(cfg)
	return err
}

func (n *node) openPoster() (err error) {
	hm := n.cfg.HM9000
	if _, byHTTP := n.cfg.HeartbeatsBy(); !byHTTP || hm == nil {
		return nil
	}
	n.poster, err = heartbeat.NewPoster(heartbeat.PosterConfig{
		URL: string(hm.ListenerURI), KeyFile: hm.KeyFile, CertFile: hm.CertFile, CAFile: hm.CAFile, Logger: n.log.Logger,
	})
	return err
}

// onClose remembers what is to be closed when the node ends, the last one first.
func (n *node) onClose(f func() error) { n.closers = append(n.closers, f) }

// close gives back all but the back end.
func (n *node) close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}

// closeBackend ends all containers that are left or, where something failed, leaves them to the next process.
func (n *node) closeBackend(failed bool) error {
	if n.inner == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if failed {
		return n.inner.Leave(ctx)
	}
	return n.inner.Close(ctx)
}
