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
	Gzip   bool   `xor:"format" help:"Compress the droplet by gzip. Default: as it was when the image was made of it, where that tells."`
	Zstd   bool   `xor:"format" help:"Compress the droplet by zstd: faster and smaller than gzip. Originals do not read it."`
}

// Help is the end of import --help.
func (c *importCmd) Help() string {
	return "All digests are checked. What is in the image besides the droplet is left out. Where the image tells which bytes its droplet had " +
		"and these become others, because it was compressed in another way or packed by another program, that is said."
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
	opts := oci.ImportOptions{Pack: droplet.PackOptions{Format: format(c.Zstd)}, TempDir: w.dir}
	if told, ok := image.Format(); ok && !c.Gzip && !c.Zstd {
		opts.Pack.Format = told
	}
	digest, err := image.Droplet(e.ctx, output, opts)
	if err != nil {
		return refused(e.ctx, c.Image, err)
	}
	if err := output.commit(); err != nil {
		return err
	}
	if was := image.Config().Config.Labels[oci.LabelSHA256]; was != "" && was != digest.SHA256 {
		e.screen.line("The bytes are others than those of the droplet that the image was made of (sha256 %.64s): "+
			"it was compressed in another way, or by another program.", printable(was))
	}
	return e.showFile("droplet", c.Output, digest)
}
