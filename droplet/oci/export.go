package oci

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/droplet"
)

// Options are the options of [Export]. The zero value is useful.
type Options struct {
	// Base is the image below the droplet, the stack. Nil means none: the image then holds the droplet and the accounts
	// of root and vcap, and cannot start, for want of /bin/bash, until something is put below it.
	Base *Image

	Process string   // process type that the image starts; default "web"
	Command string   // start command, in place of that of the droplet
	Env     []string // "NAME=value", in addition to what a DEA gives
	Port    int      // that the app is told to listen on, in PORT; default 8080

	// UID and GID are those of vcap. Default 2000, that of Cloud Foundry's stacks. The image names them by number, so
	// that any base will do.
	UID, GID int

	Ref          string            // name in the layout, default "latest"; in a docker-archive default "droplet:latest"
	Architecture string            // in Go's names; default that of the base, else that of this program
	Labels       map[string]string // in addition to the Label constants
	Created      time.Time         // default 1970-01-01 UTC, so that the same droplet gives the same image

	Format droplet.Format // of the droplet's layer in a layout; default Gzip, which every tool reads
	Level  int            // of compression, as in droplet.PackOptions

	Limits  droplet.Limits // of the droplet
	TempDir string         // where the layer is made, which takes as much room as the droplet; default os.TempDir()
}

// An Exported image.
type Exported struct {
	Digest       string // of the manifest, "sha256:..."; empty in a docker-archive, which has none
	ConfigDigest string // the image id
	Size         int64  // bytes of all layers as they were written
}

// Export writes an image of the droplet to the target: the layers of the base as they are, one with the droplet in
// /home/vcap, and a config that starts it as a DEA would. The same droplet, base and options give the same bytes.
//
// The droplet is read twice, from where it stands, and checked as droplet.Verify does, with absolute links allowed.
// Memory does not depend on its size. A name that the target cannot hold fails with ErrRef. After an error the target holds a
// part. ctx is looked at between chunks.
func Export(ctx context.Context, to Target, d io.ReadSeeker, opts Options) (Exported, error) {
	opts.UID, opts.GID = cmp.Or(opts.UID, 2000), cmp.Or(opts.GID, 2000)
	opts.Port = cmp.Or(opts.Port, 8080)
	if opts.Created.IsZero() {
		opts.Created = epoch
	}
	opts.Created = opts.Created.UTC().Truncate(time.Second)
	exported, err := export(ctx, to, d, opts)
	if err != nil {
		return Exported{}, fmt.Errorf("export droplet as an image: %w", err)
	}
	return exported, nil
}

func export(ctx context.Context, to Target, d io.ReadSeeker, opts Options) (_ Exported, err error) {
	if err := to.checkRef(opts.Ref); err != nil {
		return Exported{}, err
	}
	start, err := d.Seek(0, io.SeekCurrent)
	if err != nil {
		return Exported{}, err
	}
	if err := checkPosition(d, start); err != nil {
		return Exported{}, err
	}
	summary, err := droplet.Verify(ctx, d, droplet.VerifyOptions{Limits: opts.Limits, AbsoluteLinks: true})
	if err != nil {
		return Exported{}, err
	}
	command, err := startCommand(summary.Info, opts)
	if err != nil {
		return Exported{}, err
	}
	if _, err := d.Seek(start, io.SeekStart); err != nil {
		return Exported{}, err
	}
	file, err := os.CreateTemp(opts.TempDir, "layer-")
	if err != nil {
		return Exported{}, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	members, err := droplet.NewReader(d, opts.Limits)
	if err != nil {
		return Exported{}, err
	}
	defer members.Close()
	top, err := packLayer(ctx, file, members, to.plain(), opts)
	if err != nil {
		return Exported{}, err
	}
	return to.write(ctx, assemble(summary, command, file, top, opts))
}

// checkPosition refuses a droplet that was read or written to its end, as if it were empty.
func checkPosition(d io.Seeker, start int64) error {
	end, err := d.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if start > 0 && start >= end {
		return fmt.Errorf("%w: nothing to read at byte %d, the end: seek to the beginning first", droplet.ErrFormat, start)
	}
	_, err = d.Seek(start, io.SeekStart)
	return err
}

// A bundle is all that an image consists of.
type bundle struct {
	ref     string
	config  []byte
	layers  []source
	tempDir string
}

// A source is a layer and where it is.
type source struct {
	layer
	open func() (io.ReadCloser, error)
}

func assemble(summary droplet.Summary, command string, file io.ReaderAt, top layer, opts Options) *bundle {
	b := &bundle{ref: opts.Ref, tempDir: opts.TempDir}
	var layers []layer
	if base := opts.Base; base != nil {
		layers = append(layers, base.layers...)
		for _, l := range base.layers {
			b.layers = append(b.layers, source{l, func() (io.ReadCloser, error) { return base.raw(l) }})
		}
	}
	layers = append(layers, top)
	b.layers = append(b.layers, source{top, func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(file, 0, top.size)), nil
	}})
	b.config = encode(config(summary, command, layers, opts))
	return b
}

// manifest makes the manifest of a layout whose layers are complete.
func (b *bundle) manifest() []byte {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    descriptor(v1.MediaTypeImageConfig, b.config),
	}
	for _, l := range b.layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: l.mediaType, Digest: digest.Digest(l.digest), Size: l.size})
	}
	return encode(m)
}

func descriptor(mediaType string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.Digest(digestOf(data)), Size: int64(len(data))}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// encode is the JSON of values that have one.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
