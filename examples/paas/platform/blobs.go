package platform

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // see below
	"fmt"
	"net"

	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/examples/buildpacks"
	"github.com/deakit/deakit/examples/paas/blobs"
)

// A blobServer is the blob store with the socket on which it listens.
type blobServer struct {
	*blobs.Store
	listener net.Listener
}

func (p *Platform) openBlobs() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.onClose(func() { _ = listener.Close() }) // closed already where Run was called
	store, err := blobs.New(blobs.Config{
		Dir: p.path("blobs"), User: "deakit", Password: directory.NewToken(),
	}, "http://"+listener.Addr().String())
	if err != nil {
		return err
	}
	p.onClose(func() {
		if err := store.Close(); err != nil {
			p.log.Warn("platform.store.close", "error", err)
		}
	})
	p.blobs = &blobServer{store, listener}
	return nil
}

// addBuildpacks stores the platform's own buildpacks and returns their keys in the order in which to try them. As
// everywhere, a key changes with the content.
func (b *blobServer) addBuildpacks() ([]string, error) {
	var keys []string
	for _, name := range buildpacks.Names() {
		var archive bytes.Buffer
		if err := buildpacks.WriteZip(&archive, name); err != nil {
			return nil, err
		}
		key := fmt.Sprintf("%s_%x", name, sha1.Sum(archive.Bytes())) //nolint:gosec // names content, protects nothing
		if err := b.PutBuildpack(context.Background(), key, &archive); err != nil {
			return nil, fmt.Errorf("buildpack %s: %w", name, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (b *blobServer) Run(ctx context.Context) error { return serve(ctx, b.listener, b.Store) }
