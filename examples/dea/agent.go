package main

import (
	"errors"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/stager"
)

// What the configuration file means for the DEA and its stager.

func (n *node) openDEA() (err error) {
	cfg := n.cfg
	byNATS, _ := cfg.HeartbeatsBy()
	offered, err := catalogue(cfg.Deakit.Runtimes)
	if err != nil {
		return err
	}
	config := dea.Config{
		ID: n.id, Index: cfg.Index, BaseDir: cfg.BaseDir, HostIP: n.host, Stacks: cfg.StackNames(),
		Zone: cfg.PlacementProperties.Zone, URL: cfg.AdvertisedURL(), FilesURL: n.files,
		AdvertiseInterval: cfg.Intervals.Advertise, HeartbeatInterval: cfg.Intervals.Heartbeat,
		RegisterInterval: cfg.Intervals.RouterRegister, EvacuationBailOut: cfg.EvacuationBailOut,
		CrashLifetime: cfg.CrashLifetime, CrashDiskUsage: cfg.CrashBlockThreshold, CrashInodeUsage: cfg.CrashInodeThreshold,
		NoNATSHeartbeat: !byNATS, QuietEvacuation: cfg.Deakit.QuietEvacuation,
		LegacySubjects: len(cfg.Deakit.LegacySubjects) > 0,
		Instance: instance.Config{
			HealthCheckTimeout: cfg.HealthCheckTimeout, NProc: cfg.Instance.NProcLimit, DiskInodes: cfg.Instance.DiskInodeLimit,
			Bandwidth: cfg.Instance.BandwidthLimit.Limit(), BindMounts: cfg.Mounts(), CPUShares: cfg.CPUShares, RootFS: cfg.RootFS,
			Hooks: instance.Hooks(cfg.Hooks), PostSetup: cfg.PostSetupHook,
			Runtime: dea.Runtimes(offered, cfg.Deakit.Runtimes.Strict),
		},
	}
	if cfg.Deakit.RegisterDirectoryServer && n.files != "" {
		config.FilesHost, config.FilesPort = n.filesHost(), cfg.DirectoryServer.V2Port
	}
	parts := dea.Parts{
		Conn: n.conn, Backend: n.backend, Ledger: n.ledger, Droplets: n.droplets, Signer: n.signer,
		Logs: n.lines, LogLines: cfg.Deakit.LogEmitters.LinesPerSecond, Logger: n.log.Logger,
	}
	if n.stager != nil {
		parts.Staging = n.stager
	}
	if n.poster != nil {
		parts.PostHeartbeat = n.poster.Send
	}
	n.dea, err = dea.New(config, parts)
	return err
}

// openStager makes the stager that stands beside the DEA and shares its id, its capacity and its droplets.
func (n *node) openStager() error {
	s := n.cfg.Staging
	if !s.Enabled {
		return nil
	}
	packs, err := buildpack.OpenStore(n.path("admin_buildpacks"), buildpack.StoreOptions{Logger: n.log.Logger})
	if err != nil {
		return err
	}
	n.onClose(packs.Close)
	stacks := make([]stager.Stack, len(n.cfg.Stacks))
	for i, stack := range n.cfg.Stacks {
		stacks[i] = stager.Stack{Name: stack.Name, RootFS: stack.PackagePath}
	}
	n.stager, err = stager.New(stager.Config{
		ID: n.id, BaseDir: n.cfg.BaseDir, Stacks: stacks, CallbackURL: string(n.cfg.CCURL),
		MemoryMB: s.MemoryLimitMB, DiskMB: s.DiskLimitMB, DiskInodes: s.DiskInodeLimit, CPUShares: s.CPULimitShares,
		Bandwidth: s.BandwidthLimit.Limit(), BindMounts: n.cfg.Mounts(), Environment: s.Variables(), MaxDuration: s.MaxStagingDuration,
		AdvertiseInterval: n.cfg.Intervals.Advertise, LogURL: n.stagingURL(),
	}, stager.Parts{
		Conn: n.conn, Backend: n.backend, Ledger: n.ledger, Buildpacks: packs, Droplets: n.droplets, Logs: n.lines, Logger: n.log.Logger,
		Start:   func(m messaging.StartMessage, room *resources.Reservation) { n.dea.StartIn(room, m) },
		Leaving: func() bool { return n.dea.Leaving() },
		Changed: func() { n.dea.StagingChanged() },
	})
	return err
}

// stagingURL signs the URLs of staging logs; nil where there are none.
func (n *node) stagingURL() func(task, path string) string {
	if n.files == "" {
		return nil
	}
	return func(task, path string) string { return n.signer.StagingURL(n.files, task, &path) }
}

// stage is what POST /v1/stage does.
func (n *node) stage(m messaging.StagingRequest) error {
	if n.stager == nil {
		return errors.New("staging is not enabled here")
	}
	return n.stager.Stage(m)
}

// stagingShare is what one staging task takes, for those who ask how many there is room for.
func (n *node) stagingShare() resources.Amount {
	if n.stager == nil {
		return resources.Amount{}
	}
	s := n.cfg.Staging
	return resources.Amount{MemoryBytes: s.MemoryLimitMB << 20, DiskBytes: s.DiskLimitMB << 20}
}

var _ directory.Lookup = files{}
