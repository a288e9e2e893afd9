package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/droplet"
)

// Errors of this package, beside those of package droplet.
var (
	// ErrImage: this is no image layout and no docker-archive, or one that is malformed or incomplete.
	ErrImage = errors.New("no usable image")
	// ErrDigest: a part of the image is not what its digest says.
	ErrDigest = errors.New("digest mismatch")
	// ErrAmbiguous: there are several images, and OpenOptions do not say which, or none of them is the one they ask for.
	ErrAmbiguous = errors.New("cannot tell which image is meant")
	// ErrNoDroplet: the image has no directory /home/vcap/app.
	ErrNoDroplet = errors.New("image has no droplet below " + Home)
	// ErrNoProcess: the droplet does not tell how to start what Options ask for.
	ErrNoProcess = errors.New("droplet has no such process type")
)

const (
	maxJSON   = 4 << 20 // of an index, manifest or config
	maxLayers = 500
	maxDepth  = 4 // of indexes that name indexes
)

// The media types of Docker that mean the same as those of OCI (image-spec, media-types.md).
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// OpenOptions choose an image where there are several.
type OpenOptions struct {
	// Ref is the name of the image: in a layout the annotation org.opencontainers.image.ref.name, in a docker-archive the
	// name with its tag. Empty is right where there is one image.
	Ref string
	// Architecture in Go's names, where images for several stand under one name. Default: that of this program.
	Architecture string
}

// An Image is an image in a layout or an archive, which must stay as it is and open while the Image is used. Its
// manifest and config have been read and checked, its layers have not.
type Image struct {
	files  files
	digest string
	config v1.Image
	layers []layer
}

// A layer is a file of the image, compressed or not.
type layer struct {
	name      string // in files
	digest    string // of the file; empty where a docker-archive does not tell
	size      int64
	diffID    string // digest of the plain tar stream
	mediaType string
}

// Digest is that of the manifest, "sha256:...", or of the config in a docker-archive, which has no manifest.
func (i *Image) Digest() string { return i.digest }

// Config returns a copy of the config of the image.
func (i *Image) Config() v1.Image {
	var c v1.Image
	data, err := json.Marshal(i.config)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		panic(err) // it was read from JSON
	}
	return c
}

// OpenDir opens an image of the layout below root. Whatever is malformed is refused with ErrImage or ErrDigest.
func OpenDir(root *os.Root, opts OpenOptions) (*Image, error) {
	image, err := openLayout(directory{root}, opts)
	if err != nil {
		return nil, fmt.Errorf("open image layout: %w", err)
	}
	return image, nil
}

// OpenTar opens an image of a plain tar file of the given size, which holds a layout or is a docker-archive.
func OpenTar(ctx context.Context, r io.ReaderAt, size int64, opts OpenOptions) (*Image, error) {
	a, err := newArchive(ctx, r, size)
	if err != nil {
		return nil, fmt.Errorf("open image archive: %w", err)
	}
	open := openLayout
	if _, ok := a.files[v1.ImageLayoutFile]; !ok {
		open = openDocker
	}
	image, err := open(a, opts)
	if err != nil {
		return nil, fmt.Errorf("open image archive: %w", err)
	}
	return image, nil
}

func openLayout(f files, opts OpenOptions) (*Image, error) {
	var layout v1.ImageLayout
	if err := readJSON(f, v1.ImageLayoutFile, "", &layout); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(layout.Version, "1.") {
		return nil, fmt.Errorf("%w: version %.20q of layouts is unknown", ErrImage, layout.Version)
	}
	manifest, err := choose(f, opts)
	if err != nil {
		return nil, err
	}
	name, err := blobName(string(manifest.Digest))
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := readJSON(f, name, string(manifest.Digest), &m); err != nil {
		return nil, err
	}
	image := &Image{files: f, digest: string(manifest.Digest)}
	if name, err = blobName(string(m.Config.Digest)); err != nil {
		return nil, err
	}
	if err := readJSON(f, name, string(m.Config.Digest), &image.config); err != nil {
		return nil, err
	}
	for _, l := range m.Layers {
		name, err := blobName(string(l.Digest))
		if err != nil {
			return nil, err
		}
		image.layers = append(image.layers, layer{name: name, digest: string(l.Digest), size: l.Size, mediaType: l.MediaType})
	}
	return image, image.check()
}

// choose follows the index to the one manifest that fits.
func choose(f files, opts OpenOptions) (v1.Descriptor, error) {
	name, digest := v1.ImageIndexFile, ""
	for depth := range maxDepth {
		var index v1.Index
		if err := readJSON(f, name, digest, &index); err != nil {
			return v1.Descriptor{}, err
		}
		var fit []v1.Descriptor
		var names []string
		for _, d := range index.Manifests {
			names = append(names, d.Annotations[v1.AnnotationRefName])
			if depth == 0 && opts.Ref != "" && d.Annotations[v1.AnnotationRefName] != opts.Ref {
				continue
			}
			if d.Platform == nil || d.Platform.OS == "linux" && d.Platform.Architecture == opts.architecture() {
				fit = append(fit, d)
			}
		}
		if len(fit) != 1 {
			return v1.Descriptor{}, ambiguous(len(fit), len(index.Manifests), names)
		}
		switch fit[0].MediaType {
		case v1.MediaTypeImageManifest, dockerManifest:
			return fit[0], nil
		case v1.MediaTypeImageIndex, dockerList:
		default:
			return v1.Descriptor{}, fmt.Errorf("%w: index names a %.80q", ErrImage, fit[0].MediaType)
		}
		var err error
		digest = string(fit[0].Digest)
		if name, err = blobName(digest); err != nil {
			return v1.Descriptor{}, err
		}
	}
	return v1.Descriptor{}, fmt.Errorf("%w: more than %d indexes below each other", ErrImage, maxDepth)
}

// maxListed bounds the names that an error lists.
const maxListed = 20

// ambiguous lists what there is to choose from, as far as it has names.
func ambiguous(fit, all int, names []string) error {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	names = slices.Compact(names)
	text := ""
	if len(names) > 0 {
		text = "; there is "
		for i, name := range names[:min(len(names), maxListed)] {
			if i > 0 {
				text += ", "
			}
			text += fmt.Sprintf("%.100q", name)
		}
		if len(names) > maxListed {
			text += ", …"
		}
	}
	return fmt.Errorf("%w: %d of %d fit%s", ErrAmbiguous, fit, all, text)
}

func (o OpenOptions) architecture() string {
	if o.Architecture != "" {
		return o.Architecture
	}
	return runtime.GOARCH
}

// dockerImage is one entry of manifest.json in a docker-archive (Docker image specification 1.2).
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

const dockerIndex = "manifest.json"

func openDocker(f files, opts OpenOptions) (*Image, error) {
	var images []dockerImage
	if err := readJSON(f, dockerIndex, "", &images); err != nil {
		return nil, err
	}
	var fit []dockerImage
	var names []string
	for _, i := range images {
		names = append(names, i.RepoTags...)
		if opts.Ref == "" || slices.Contains(i.RepoTags, opts.Ref) {
			fit = append(fit, i)
		}
	}
	if len(fit) != 1 {
		return nil, ambiguous(len(fit), len(images), names)
	}
	// The name of the config is its digest.
	digest := "sha256:" + strings.TrimSuffix(path.Base(fit[0].Config), ".json")
	if _, err := blobName(digest); err != nil {
		return nil, err
	}
	image := &Image{files: f, digest: digest}
	if err := readJSON(f, fit[0].Config, digest, &image.config); err != nil {
		return nil, err
	}
	for _, name := range fit[0].Layers {
		image.layers = append(image.layers, layer{name: name, size: -1})
	}
	return image, image.check()
}

// check compares layers, config and files, and completes the layers.
func (i *Image) check() error {
	ids := i.config.RootFS.DiffIDs
	switch {
	case len(i.layers) > maxLayers:
		return &droplet.MemberError{Reason: droplet.ErrLimit, Detail: fmt.Sprintf("more than %d layers", maxLayers)}
	case len(i.layers) != len(ids):
		return fmt.Errorf("%w: %d layers, but config tells of %d", ErrImage, len(i.layers), len(ids))
	}
	for n := range i.layers {
		l := &i.layers[n]
		l.diffID = string(ids[n])
		if _, err := blobName(l.diffID); err != nil {
			return err
		}
		r, size, err := i.files.open(l.name)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: layer %s is missing: %w", ErrImage, l.name, err)
		}
		if err != nil {
			return err
		}
		r.Close()
		if l.size >= 0 && l.size != size {
			return fmt.Errorf("%w: layer %s has %d bytes, not %d", ErrDigest, l.name, size, l.size)
		}
		l.size = size
	}
	return nil
}

func readJSON(f files, name, digest string, to any) error {
	data, err := readSmall(f, name, digest)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrImage, name, err)
	}
	return nil
}
