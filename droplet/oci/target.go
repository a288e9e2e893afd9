package oci

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/internal/atomicfile"
)

// A Target is where an image is written: [Dir], [Tar] or [DockerArchive].
type Target interface {
	plain() bool // whether layers are not compressed
	checkRef(ref string) error
	write(context.Context, *bundle) (Exported, error)
}

// Dir writes an image layout below root, which must not hold one yet; index.json appears last.
func Dir(root *os.Root) Target { return layout{dirStore{root}} }

// Tar writes an image layout as a plain tar file, as "skopeo copy oci-archive:" reads it.
func Tar(w io.Writer) Target {
	return layout{&tarStore{out: tar.NewWriter(w), made: map[string]bool{}}}
}

// DockerArchive writes what "docker load" and "skopeo copy docker-archive:" read.
func DockerArchive(w io.Writer) Target {
	return docker{&tarStore{out: tar.NewWriter(w), made: map[string]bool{}}}
}

// A store takes the files of an image one by one. A file that is there already is left as it is.
type store interface {
	begin() error
	put(name string, size int64, content io.Reader) error
	end() error
}

type layout struct{ store store }

func (layout) plain() bool { return false }

func (t layout) write(ctx context.Context, b *bundle) (Exported, error) {
	if err := t.store.begin(); err != nil {
		return Exported{}, err
	}
	version := encode(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err := putBytes(t.store, v1.ImageLayoutFile, version); err != nil {
		return Exported{}, err
	}
	done := Exported{ConfigDigest: digestOf(b.config)}
	err := b.each(ctx, false, func(l layer, r io.Reader) error {
		done.Size += l.size
		return t.blob(l.digest, l.size, r)
	})
	if err != nil {
		return Exported{}, err
	}
	manifest := b.manifest()
	done.Digest = digestOf(manifest)
	for _, data := range [][]byte{b.config, manifest} {
		if err := t.blob(digestOf(data), int64(len(data)), strings.NewReader(string(data))); err != nil {
			return Exported{}, err
		}
	}
	named := descriptor(v1.MediaTypeImageManifest, manifest)
	named.Annotations = map[string]string{v1.AnnotationRefName: cmp.Or(b.ref, "latest")}
	index := encode(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{named},
	})
	if err := putBytes(t.store, v1.ImageIndexFile, index); err != nil {
		return Exported{}, err
	}
	return done, t.store.end()
}

func (t layout) blob(digest string, size int64, r io.Reader) error {
	name, err := blobName(digest)
	if err != nil {
		return err
	}
	return t.store.put(name, size, r)
}

func putBytes(s store, name string, data []byte) error {
	return s.put(name, int64(len(data)), strings.NewReader(string(data)))
}

type docker struct{ store store }

func (docker) plain() bool { return true }

func (t docker) write(ctx context.Context, b *bundle) (Exported, error) {
	if err := t.store.begin(); err != nil {
		return Exported{}, err
	}
	done := Exported{ConfigDigest: digestOf(b.config)}
	image := dockerImage{Config: hexOf(done.ConfigDigest) + ".json", RepoTags: []string{cmp.Or(b.ref, "droplet:latest")}}
	err := b.each(ctx, true, func(l layer, r io.Reader) error {
		name := hexOf(l.diffID) + ".tar"
		image.Layers = append(image.Layers, name)
		done.Size += l.size
		return t.store.put(name, l.size, r)
	})
	if err != nil {
		return Exported{}, err
	}
	if err := putBytes(t.store, image.Config, b.config); err != nil {
		return Exported{}, err
	}
	if err := putBytes(t.store, dockerIndex, encode([]dockerImage{image})); err != nil {
		return Exported{}, err
	}
	return done, t.store.end()
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// A dirStore writes files below a root.
type dirStore struct{ root *os.Root }

func (d dirStore) begin() error {
	if _, err := d.root.Lstat(v1.ImageIndexFile); err == nil {
		return fmt.Errorf("%s: %w: choose an empty directory", path.Join(d.root.Name(), v1.ImageIndexFile), fs.ErrExist)
	}
	return d.root.MkdirAll("blobs/sha256", 0o755)
}

func (d dirStore) put(name string, _ int64, content io.Reader) error {
	f, err := atomicfile.Create(d.root, path.Dir(name), 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return f.Commit(name)
}

func (dirStore) end() error { return nil }

// A tarStore writes files as members of a tar file, the same bytes each time.
type tarStore struct {
	out  *tar.Writer
	made map[string]bool
}

func (*tarStore) begin() error { return nil }

func (t *tarStore) put(name string, size int64, content io.Reader) error {
	if t.made[name] { // a layer that is there twice
		_, err := io.Copy(io.Discard, content)
		return err
	}
	t.made[name] = true
	if err := t.directory(path.Dir(name)); err != nil {
		return err
	}
	if err := t.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.Copy(struct{ io.Writer }{t.out}, content)
	return err
}

func (t *tarStore) directory(name string) error {
	if name == "." || t.made[name] {
		return nil
	}
	if err := t.directory(path.Dir(name)); err != nil {
		return err
	}
	t.made[name] = true
	return t.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch})
}

func (t *tarStore) end() error { return t.out.Close() }
