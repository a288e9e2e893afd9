package dea

import (
	"context"
	"strconv"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/messaging"
)

// Instance implements [directory.Lookup]: the files of a running instance are its home directory, those of a crashed
// one what was kept. An evacuating instance runs, and its files are shown too, other than in dea_ng.
func (d *DEA) Instance(_ context.Context, id string) (directory.Tree, error) {
	i, ok := d.registry.Find(id)
	if !ok {
		return directory.Tree{}, directory.ErrUnknown
	}
	s := i.Status()
	switch {
	case s.Healthy():
		if home, ok := s.Container.OnHost(container.AppHome); ok {
			return directory.Tree{Dir: home, ContainerRoot: s.Container.HostRoot, AsOwner: true}, nil
		}
	case s.State == messaging.Crashed && s.CrashPath != "":
		return directory.Tree{Dir: s.CrashPath, AsOwner: true}, nil
	}
	return directory.Tree{}, directory.ErrUnavailable
}

// StagingTask implements [directory.Lookup]: a DEA by itself stages nothing.
func (d *DEA) StagingTask(context.Context, string) (directory.Tree, error) {
	return directory.Tree{}, directory.ErrUnknown
}

// fileURL signs the URL of a path of an instance; empty when this DEA offers none.
func (d *DEA) fileURL(id string, path *string) string {
	if d.parts.Signer == nil || d.cfg.FilesURL == "" {
		return ""
	}
	return d.parts.Signer.InstanceURL(d.cfg.FilesURL, id, path)
}

// filesRoute is the route of the directory server, if the DEA has to keep it registered.
func (d *DEA) filesRoute() (messaging.Route, bool) {
	return messaging.Route{
		URIs: []string{d.cfg.FilesHost}, Host: d.cfg.HostIP, Port: d.cfg.FilesPort,
		Tags: tags("directory-server", d.cfg.Index),
	}, d.cfg.FilesHost != "" && d.cfg.FilesPort != 0
}

// tags are those by which operators tell routes apart.
func tags(name string, index int) map[string]string {
	return map[string]string{"component": name + "-" + strconv.Itoa(index)}
}
