package platform

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/deakit/deakit/directory"
)

// A fileAPI is what a DEA or a stager offers to the directory server: it tells where a file is.
type fileAPI struct {
	listener net.Listener
	handler  http.Handler
}

func newFileAPI(local *directory.Local, log *slog.Logger) (*fileAPI, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &fileAPI{listener, directory.FileAPI(local, log)}, nil
}

func (f *fileAPI) url() string { return "http://" + f.listener.Addr().String() }

func (f *fileAPI) Run(ctx context.Context) error { return serve(ctx, f.listener, f.handler) }

// A fileServer is the directory server: one for all nodes of this machine, which it tells apart by the host name of
// the request. What may be read, it asks the file API of the node.
type fileServer struct {
	listener net.Listener
	server   *directory.Server
	nodes    map[string]*directory.Remote // by host; complete before Run
}

func (p *Platform) openFiles() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.files = &fileServer{listener: listener, nodes: map[string]*directory.Remote{}}
	p.onClose(p.files.close)
	p.files.server, err = directory.NewServer(directory.Config{Resolver: p.files, Logger: p.log.With("part", "directory server")})
	return err
}

func (f *fileServer) port() uint16 { return port(f.listener) }

// add makes the files of a node reachable under a host name; all of them stand below dir.
func (f *fileServer) add(host, fileAPI, dir string) error {
	remote, err := directory.NewRemote(directory.RemoteConfig{URL: fileAPI, Under: dir})
	if err != nil {
		return fmt.Errorf("directory server: %w", err)
	}
	f.nodes[host] = remote
	return nil
}

// Resolve implements directory.Resolver.
func (f *fileServer) Resolve(ctx context.Context, r *http.Request) (directory.Location, error) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	node, ok := f.nodes[host]
	if !ok {
		return directory.Location{}, directory.ErrUnreachable
	}
	return node.Resolve(ctx, r)
}

func (f *fileServer) Run(ctx context.Context) error { return f.server.Run(ctx, f.listener) }

func (f *fileServer) close() {
	_ = f.listener.Close() // closed already where Run was called
	for _, node := range f.nodes {
		node.Close()
	}
}
