package main

import (
	"errors"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
)

type importCmd struct {
	Image  string `arg:"" name:"IMAGE" help:"A directory with an image layout, its tar file, or a docker-archive."`
	Ref    string `help:"Name of the image, where there are several." placeholder:"NAME"`
	Output string `short:"o" help:"File for the droplet." default:"droplet.tgz" placeholder:"FILE"`
	Zstd   bool   `help:"Compress the droplet by zstd instead of gzip: faster and smaller. Originals do not read it."`
}

// Help is the end of import --help.
func (c *importCmd) Help() string {
	return "All digests are checked. What is in the image besides the droplet is left out."
}

func (c *importCmd) Run(e *env) (err error) {
	image, done, err := openImage(e.ctx, c.Image, oci.OpenOptions{Ref: c.Ref})
	if err != nil {
		return err
	}
	defer done()
	output, err := newOutput(e.ctx, c.Output, 0o644)
	if err != nil {
		return err
	}
	defer output.discard()
	w, err := newWorkspace(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	e.screen.progress("importing")
	digest, err := image.Droplet(e.ctx, output, oci.ImportOptions{Pack: droplet.PackOptions{Format: format(c.Zstd)}, TempDir: w.dir})
	if err != nil {
		return refused(e.ctx, c.Image, err)
	}
	if err := output.commit(); err != nil {
		return err
	}
	return e.showFile("droplet", c.Output, digest)
}
