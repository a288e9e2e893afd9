package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/deakit/deakit/droplet/oci"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/rmtree"
)

type exportCmd struct {
	Droplet string `arg:"" name:"DROPLET" help:"File with the droplet."`

	OCI           string `name:"oci" xor:"target" required:"" help:"Directory for an image layout, which must be new or empty." placeholder:"DIR"`
	OCIArchive    string `name:"oci-archive" xor:"target" required:"" help:"File for an image layout in a tar file." placeholder:"FILE"`
	DockerArchive string `name:"docker-archive" xor:"target" required:"" help:"File for what \"docker load\" reads." placeholder:"FILE"`

	Base    string `help:"Image below the droplet: a layout, its tar file, or a docker-archive. Default: none, for those who put one below it later." placeholder:"DIR|FILE"`
	BaseRef string `help:"Name of the image, where there are several in --base." placeholder:"NAME"`
	Ref     string `help:"Name that the image gets. Default: latest, in a docker-archive droplet:latest." placeholder:"NAME"`

	Process string   `short:"t" help:"Process type that the image starts." default:"web" placeholder:"TYPE"`
	Command string   `short:"c" help:"Start command, instead of that of the process type." placeholder:"COMMAND"`
	Env     []string `short:"e" help:"Sets a variable for the app, or with the name alone passes it on; may be repeated." sep:"none" placeholder:"NAME=VALUE"`
	Port    uint16   `short:"p" help:"Port that the app finds as PORT." default:"8080"`
	Time    moment   `help:"When the image was created, as 2006-01-02T15:04:05Z or in seconds since 1970. Default: 1970-01-01, so that the same droplet gives the same image." placeholder:"TIME"`
}

// Help is the end of export --help.
func (c *exportCmd) Help() string {
	return "The image starts the app as a node would. The same droplet, base and flags give the same bytes."
}

func (c *exportCmd) Run(e *env) (err error) {
	file, err := openFile(c.Droplet)
	if err != nil {
		return err
	}
	defer file.Close()
	variables, err := environment(c.Env)
	if err != nil {
		return err
	}
	w, err := newWorkspace(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	opts := oci.Options{
		Process: c.Process, Command: c.Command, Env: variables, Port: int(c.Port), Ref: c.Ref, Created: c.Time.Time, TempDir: w.dir,
	}
	if c.Base != "" {
		base, done, err := openImage(e.ctx, c.Base, oci.OpenOptions{Ref: c.BaseRef})
		if err != nil {
			return err
		}
		defer done()
		opts.Base = base
	}
	e.screen.progress("exporting")
	exported, err := c.write(e.ctx, func(to oci.Target) (oci.Exported, error) {
		done, err := oci.Export(e.ctx, to, file, opts)
		if errors.Is(err, oci.ErrNoProcess) || errors.Is(err, oci.ErrRef) {
			return done, &codedError{code: exitUsage, err: err}
		}
		if err != nil {
			return done, refused(e.ctx, c.Droplet, err)
		}
		return done, nil
	})
	if err != nil {
		return err
	}
	return e.showImage(c.OCI+c.OCIArchive+c.DockerArchive, exported)
}

// write makes the file or directory that the image goes to, which appears when all is in it.
func (c *exportCmd) write(ctx context.Context, export func(oci.Target) (oci.Exported, error)) (oci.Exported, error) {
	if c.OCI != "" {
		return exportDirectory(c.OCI, export)
	}
	file, err := newOutput(ctx, c.OCIArchive+c.DockerArchive, 0o644)
	if err != nil {
		return oci.Exported{}, err
	}
	defer file.discard()
	target := oci.Tar
	if c.DockerArchive != "" {
		target = oci.DockerArchive
	}
	done, err := export(target(file))
	if err != nil {
		return done, err
	}
	return done, file.commit()
}

func exportDirectory(name string, export func(oci.Target) (oci.Exported, error)) (_ oci.Exported, err error) {
	path, info, err := followed(name)
	switch {
	case err != nil:
		return oci.Exported{}, err
	case info != nil && !info.IsDir():
		return oci.Exported{}, wrong("%s is a %s: choose a new directory", name, kindOf(info))
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return oci.Exported{}, wrong("%s is not empty: choose a new directory", name)
	} else if err != nil && info != nil {
		return oci.Exported{}, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), atomicfile.TempPrefix)
	if err != nil {
		return oci.Exported{}, missing(name, err)
	}
	defer func() { err = errors.Join(err, rmtree.Path(temp)) }() // where it was not given its name
	if err := os.Chmod(temp, 0o755); err != nil {
		return oci.Exported{}, err
	}
	root, err := os.OpenRoot(temp)
	if err != nil {
		return oci.Exported{}, err
	}
	defer root.Close()
	done, err := export(oci.Dir(root))
	if err != nil {
		return done, err
	}
	return done, syscall.Rename(temp, path) // other than that of os, it replaces an empty directory
}

// openImage opens a layout or an archive. The caller calls done when it needs the image no more.
func openImage(ctx context.Context, name string, opts oci.OpenOptions) (_ *oci.Image, done func(), err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, missing(name, err)
	}
	var image *oci.Image
	var open io.Closer
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, nil, err
		}
		open = root
		image, err = oci.OpenDir(root, opts)
		if err != nil {
			return nil, nil, errors.Join(refused(ctx, name, err), root.Close())
		}
	} else {
		file, err := openFile(name)
		if err != nil {
			return nil, nil, err
		}
		open = file
		image, err = oci.OpenTar(ctx, file, info.Size(), opts)
		if err != nil {
			return nil, nil, errors.Join(refused(ctx, name, err), file.Close())
		}
	}
	return image, func() { _ = open.Close() }, nil // it was read only
}

// imageReport is what --json writes.
type imageReport struct {
	Path   string `json:"path"`
	Digest string `json:"digest,omitempty"` // of the manifest; a docker-archive has none
	ID     string `json:"id"`               // digest of the config
	Size   int64  `json:"size"`             // bytes of all layers
}

func (e *env) showImage(name string, image oci.Exported) error {
	e.screen.progress("")
	if e.json {
		return writeJSON(e.out, map[string]imageReport{"image": {name, image.Digest, image.ConfigDigest, image.Size}})
	}
	t := table{}
	t.add("image", fmt.Sprintf("%s  %s", name, size(image.Size)))
	if image.Digest != "" {
		t.add("digest", image.Digest)
	}
	t.add("id", image.ConfigDigest)
	t.write(e.out)
	return nil
}
