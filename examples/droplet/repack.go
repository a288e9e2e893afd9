package main

import (
	"context"
	"errors"
	"io"

	"github.com/deakit/deakit/droplet"
)

type repackCmd struct {
	Droplet string `arg:"" name:"DROPLET" help:"File with the droplet."`
	Output  string `short:"o" help:"File for the new one, which may be the old." required:"" placeholder:"FILE"`
	Zstd    bool   `help:"Compress by zstd instead of gzip: faster and smaller. Originals do not read it."`
	Level   int    `help:"Level of compression: 1 (fast) to 9 (small), with --zstd to 22. Default: that of the programs gzip and zstd." placeholder:"N"`
	Time    moment `help:"Time that all files get, as 2006-01-02T15:04:05Z or in seconds since 1970, so that equal content gives equal bytes. Default: their own." placeholder:"TIME"`
}

func (c *repackCmd) Help() string {
	return "It writes the droplet as this program would have: what it tells of itself first, no owners, plain modes. The same content gives the same bytes."
}

// Validate refuses what would be told late.
func (c *repackCmd) Validate() error {
	if most := map[bool]int{false: 9, true: 22}[c.Zstd]; c.Level < 0 || c.Level > most {
		return errors.New("--level must be 1 to 9, with --zstd 1 to 22")
	}
	return nil
}

func (c *repackCmd) Run(e *env) error {
	opts := droplet.PackOptions{Format: format(c.Zstd), Level: c.Level, ModTime: c.Time.Time}
	file, err := openFile(c.Droplet)
	if err != nil {
		return err
	}
	defer file.Close()
	output, err := newOutput(e.ctx, c.Output, 0o644)
	if err != nil {
		return err
	}
	defer output.discard()
	e.screen.progress("repacking")
	digest, err := droplet.Repack(e.ctx, output, file, opts)
	if err != nil {
		return refused(e.ctx, c.Droplet, err)
	}
	if err := output.commit(); err != nil {
		return err
	}
	return e.showFile("droplet", c.Output, digest)
}

func format(zstd bool) droplet.Format {
	if zstd {
		return droplet.Zstd
	}
	return droplet.Gzip
}

// showFile tells of a file that was written.
func (e *env) showFile(what, name string, d droplet.Digest) error {
	e.screen.progress("")
	if e.json {
		return writeJSON(e.out, map[string]fileReport{what: newFileReport(name, d)})
	}
	t := table{}
	t.add(what, name+"  "+size(d.Size))
	t.add("sha256", d.SHA256)
	t.write(e.out)
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
