package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
	"github.com/deakit/deakit/staging/framework"
)

type inspectCmd struct {
	Droplet string `arg:"" name:"DROPLET" help:"File with the droplet."`
}

func (c *inspectCmd) Help() string {
	return "It reads as far as the droplet tells of itself, which stands at its beginning as a rule. " +
		"Sizes of what is in it, and whether it is whole: droplet verify."
}

func (c *inspectCmd) Run(e *env) error {
	e.screen.progress("reading the droplet")
	file, err := openFile(c.Droplet)
	if err != nil {
		return err
	}
	defer file.Close()
	summary, err := inspect(e.ctx, file)
	if err != nil {
		return refused(e.ctx, c.Droplet, err)
	}
	return e.showDroplet(c.Droplet, summary)
}

// inspect reads what a droplet tells of itself, and the digest of the file.
func inspect(ctx context.Context, file *os.File) (droplet.Summary, error) {
	summary, err := droplet.Inspect(ctx, file, droplet.Limits{})
	if err != nil {
		return summary, err
	}
	if _, err := file.Seek(0, 0); err != nil {
		return summary, err
	}
	summary.Digest, err = droplet.Hash(contextReader{ctx, file})
	return summary, err
}

// refused says that a file is no droplet or image, or none to be trusted, unless there is trouble with the machine.
func refused(ctx context.Context, name string, err error) error {
	var path *os.PathError
	ours := errors.Is(err, oci.ErrImage) // in which something may be missing, which is no trouble of the machine
	if ctx.Err() != nil || errors.As(err, &path) && !ours {
		return err
	}
	coded := &codedError{code: exitDroplet, err: fmt.Errorf("%s: %w", name, err)}
	if errors.Is(err, droplet.ErrFormat) {
		coded.remedy = "to make a droplet of an image: droplet import"
	}
	return coded
}

type verifyCmd struct {
	Droplet string `arg:"" name:"DROPLET" help:"File with the droplet."`
	SHA256  string `name:"sha256" help:"Digest that it must have, 64 hexadecimal digits." placeholder:"HEX"`
	SHA1    string `name:"sha1" help:"Digest that it must have, 40 hexadecimal digits." placeholder:"HEX"`
}

// Validate refuses what is no digest.
func (c *verifyCmd) Validate() error {
	for _, d := range []struct {
		name, text string
		digits     int
	}{{"--sha256", c.SHA256, 64}, {"--sha1", c.SHA1, 40}} {
		if d.text != "" && (len(d.text) != d.digits || strings.Trim(strings.ToLower(d.text), "0123456789abcdef") != "") {
			return fmt.Errorf("%s must have %d hexadecimal digits", d.name, d.digits)
		}
	}
	return nil
}

func (c *verifyCmd) Help() string {
	return "It reads the droplet to its end and refuses what a node would refuse to unpack: names and links that lead out of it, " +
		"devices, setuid files, more than 4 GiB, what is cut short or followed by something else."
}

func (c *verifyCmd) Run(e *env) error {
	e.screen.progress("reading the droplet")
	file, err := openFile(c.Droplet)
	if err != nil {
		return err
	}
	defer file.Close()
	// Buildpacks make absolute links, for paths in the container.
	summary, err := droplet.Verify(e.ctx, file, droplet.VerifyOptions{AbsoluteLinks: true, SHA1: c.SHA1})
	if err != nil {
		return refused(e.ctx, c.Droplet, err)
	}
	if c.SHA256 != "" && !strings.EqualFold(c.SHA256, summary.Digest.SHA256) {
		return refused(e.ctx, c.Droplet, fmt.Errorf("SHA256 mismatch: it is %s", summary.Digest.SHA256))
	}
	return e.showDroplet(c.Droplet, summary)
}

// dropletReport is what --json writes.
type dropletReport struct {
	fileReport
	Format     string                  `json:"format"` // "gzip" or "zstd"
	Detected   string                  `json:"detected_buildpack,omitempty"`
	Framework  string                  `json:"framework,omitempty"` // whose plugin made it
	Runtime    string                  `json:"runtime,omitempty"`   // the default one of the framework
	Buildpacks []droplet.BuildpackInfo `json:"buildpacks"`
	Command    string                  `json:"start_command,omitempty"`
	Prefix     string                  `json:"entrypoint_prefix,omitempty"`
	Types      map[string]string       `json:"process_types"`
	Sidecars   []droplet.Sidecar       `json:"sidecars"`
	Legacy     bool                    `json:"legacy"`                  // starts with a script of its own, and tells nothing of itself
	Members    int                     `json:"members,omitempty"`       // verify: files, directories and links
	Content    int64                   `json:"content_bytes,omitempty"` // verify: of all files
}

// showDroplet tells what a droplet is.
func (e *env) showDroplet(name string, s droplet.Summary) error {
	e.screen.progress("")
	if s.Info != nil && s.Info.Error != nil {
		return &codedError{code: exitDroplet, err: fmt.Errorf("%s: %w", name, s.Info.Error)}
	}
	info := s.Info
	if info == nil {
		info = &droplet.StagingInfo{}
	}
	if e.json {
		return writeJSON(e.out, newDropletReport(name, s, *info))
	}
	t := table{}
	t.add("droplet", fmt.Sprintf("%s  %s, %s", name, size(s.Digest.Size), s.Format))
	t.add("sha256", s.Digest.SHA256)
	t.add("sha1", s.Digest.SHA1)
	if s.Members > 0 {
		t.add("content", fmt.Sprintf("%s in %d files, directories and links", size(s.Bytes), s.Members))
	}
	if name := frameworkOf(s.Info); name != "" {
		t.add("framework", name)
		if runtime := framework.DefaultRuntime(name); runtime != "" {
			t.add("runtime", runtime+", or what droplet run --runtime names")
		}
	} else {
		t.buildpacks(info.DetectedBuildpack, info.Buildpacks)
	}
	t.commands(info.StartCommand, info.EffectiveProcfile)
	if info.EntrypointPrefix != "" {
		t.add("entrypoint", info.EntrypointPrefix)
	}
	for _, sidecar := range info.Sidecars {
		t.add("sidecar", fmt.Sprintf("%s beside %s: %s", sidecar.Name, strings.Join(sidecar.ProcessTypes, ", "), sidecar.Command))
	}
	if s.Info == nil {
		t.add("note", "it has no "+droplet.InfoName+": it starts with ./startup, as droplets did before August 2013")
	}
	t.write(e.out)
	return nil
}

func newDropletReport(name string, s droplet.Summary, info droplet.StagingInfo) dropletReport {
	r := dropletReport{
		fileReport: newFileReport(name, s.Digest), Format: s.Format.String(), Detected: info.DetectedBuildpack, Buildpacks: info.Buildpacks,
		Command: info.StartCommand, Prefix: info.EntrypointPrefix, Types: info.EffectiveProcfile, Sidecars: info.Sidecars,
		Framework: frameworkOf(s.Info), Runtime: framework.DefaultRuntime(frameworkOf(s.Info)), Legacy: s.Info == nil, Members: s.Members, Content: s.Bytes,
	}
	if r.Buildpacks == nil {
		r.Buildpacks = []droplet.BuildpackInfo{}
	}
	if r.Types == nil {
		r.Types = map[string]string{}
	}
	if r.Sidecars == nil {
		r.Sidecars = []droplet.Sidecar{}
	}
	return r
}
