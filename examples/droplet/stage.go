package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/staging"
)

type stageCmd struct {
	App string `arg:"" name:"DIR|ZIP|TGZ" help:"Source of the app: a directory, a zip file or a tar file."`

	Buildpack []string `short:"b" help:"A directory, a zip or tar file, the URL of one (#sha256=HEX checks it), a git URL with an optional #branch, tag or commit, or one of the samples: ${samples}. It is used without detection. Repeated: all take part, in this order. Default: the first of the samples that takes the app." sep:"none" placeholder:"X"`
	Detect    bool     `help:"Let the buildpacks of --buildpack detect, and use the first that takes the app."`
	Output    string   `short:"o" help:"File for the droplet; a device or FIFO is written to." default:"droplet.tgz" placeholder:"FILE"`

	Zstd bool `help:"Compress the droplet by zstd instead of gzip: faster and smaller. Originals do not read it."`

	Time moment `help:"Time that all files of the droplet get, as 2006-01-02T15:04:05Z or in seconds since 1970; the log in it is left empty. What gives the same files gives the same bytes then. Default: their own times." placeholder:"TIME"`

	Env     []string `short:"e" help:"Sets a variable for the buildpacks, or with the name alone passes it on; may be repeated." sep:"none" placeholder:"NAME=VALUE"`
	Command string   `short:"c" help:"Start command, instead of what Procfile or buildpack say." placeholder:"COMMAND"`

	Cache   string `help:"File, or directory for one file of each app, that keeps what buildpacks want to keep for the next time. Default: a directory below the user's cache directory." placeholder:"FILE|DIR"`
	NoCache bool   `help:"Keep nothing for the next time, and use nothing of the last."`

	Timeout time.Duration `help:"How long buildpacks may work." default:"15m"`
	Memory  megabytes     `short:"m" help:"Memory that they may take, in MB or as 2G." default:"2G"`
	Disk    megabytes     `short:"k" help:"Disk that they may take, in MB or as 4G, the app included." default:"8G"`

	sandbox
}

// Validate refuses what would be told late.
func (c *stageCmd) Validate() error {
	if c.Timeout <= 0 || c.Memory <= 0 || c.Disk <= 0 {
		return errors.New("--timeout, --memory and --disk must be more than 0")
	}
	if c.Detect && len(c.Buildpack) == 0 {
		return errors.New("--detect is about the buildpacks of --buildpack, and there is none")
	}
	if c.NoCache && c.Cache != "" {
		return errors.New("--cache and --no-cache exclude each other")
	}
	return nil
}

// Help is the end of stage --help.
func (c *stageCmd) Help() string {
	return "Of a directory, .git and what else the cf CLI leaves out stays behind, with what its .cfignore names, and the files that this command writes. " +
		"Buildpacks can do to this machine what the back end does not forbid: on plain processes, all that you can. " +
		`"droplet doctor" tells.`
}

func (c *stageCmd) Run(e *env) (err error) {
	variables, err := environment(c.Env)
	if err != nil {
		return err
	}
	if err := backends.Enter(e.ctx, c.Backend, anyContainers()); err != nil {
		return err
	}
	app, err := c.source()
	if err != nil {
		return err
	}
	output, err := newOutput(e.ctx, c.Output, 0o644)
	if err != nil {
		return err
	}
	defer output.discard()
	began := time.Now()
	w, err := newWorkspace(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.remove()) }()
	s := &stagingJob{stageCmd: c, env: e, work: w, app: app, variables: variables, output: output}
	report, err := s.run()
	if err != nil {
		return err
	}
	report.Seconds = seconds(time.Since(began))
	if e.json {
		return writeJSON(e.out, report)
	}
	report.show(e)
	return nil
}

// A stagingJob is one staging under way.
type stagingJob struct {
	*stageCmd
	env       *env
	work      *workspace
	app       string
	variables []string
	output    *output
	users     bool // programs run under accounts of their own
}

func (s *stagingJob) run() (_ *stageReport, err error) {
	e := s.env
	e.screen.progress("getting ready")
	backend, err := s.work.open(e, s.Backend, process.PortRange{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeBackend(e, backend)) }()
	s.users = backend.Capabilities().Users
	task, closePacks, err := s.openBuildpacks()
	if err != nil {
		return nil, err
	}
	defer closePacks()
	cache, err := s.openCache()
	if err != nil {
		return nil, err
	}
	defer cache.discard()
	if task.Exclude, err = s.leftOut(cache); err != nil {
		return nil, err
	}
	task.App, task.Cache, task.NewCache, task.Droplet = s.app, cache.old, cache.writer(), s.output
	task.StartCommand, task.Timeout, task.CacheOptional = s.Command, s.Timeout, true
	task.Format, task.ModTime, task.Limits = format(s.Zstd), s.Time.Time, droplet.Limits{MaxBytes: int64(s.Disk) << 20}
	task.Environment = staging.Environment{Application: s.application(), MemoryMB: int64(s.Memory), User: s.variables}
	result, err := s.stage(backend, task)
	if err != nil {
		return nil, err
	}
	if err := s.output.commit(); err != nil {
		return nil, err
	}
	report := newStageReport(s.Output, backend.Choice.Name, result)
	if report.Cache, err = cache.commit(result.Cache); err != nil {
		e.screen.line("The cache cannot be kept, so the next time takes as long: %v", err)
	}
	return report, nil
}

// stage runs the task in a container of its own.
func (s *stagingJob) stage(backend container.Backend, task staging.Task) (_ staging.Result, err error) {
	e := s.env
	c, err := s.create(e.ctx, backend, container.Spec{
		BindMounts: task.Mounts(), Limits: container.Limits{MemoryBytes: int64(s.Memory) << 20, DiskBytes: int64(s.Disk) << 20},
	})
	if err != nil {
		return staging.Result{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), closeTime)
		defer cancel()
		err = errors.Join(err, c.Destroy(ctx))
	}()
	lines := &lineWriter{show: func(line string) {
		if strings.HasPrefix(line, "Staging failed: ") && !strings.HasSuffix(line, ":") { // which the end of the program tells
			return
		}
		e.screen.line("%s", e.screen.clean(line))
	}}
	log, err := staging.NewLog("", staging.LogOptions{Copy: lines})
	if err != nil {
		return staging.Result{}, err
	}
	defer log.Close()
	defer e.screen.progress("")
	defer lines.flush()
	return staging.Stage(e.ctx, task, staging.Parts{
		Container: c, Log: log, Logger: e.log, Began: e.screen.progress,
		WatchDisk: backend.Capabilities().Disk == container.NotEnforced,
	})
}

// application is what buildpacks are told of the app (VCAP_APPLICATION).
func (s *stagingJob) application() json.RawMessage {
	name := strings.TrimSuffix(filepath.Base(s.app), filepath.Ext(s.app))
	text, err := json.Marshal(map[string]any{
		"name": name, "application_name": name, "uris": []string{}, "application_uris": []string{},
		"limits": map[string]any{"mem": int64(s.Memory)},
	})
	if err != nil {
		return nil // it has nothing that could not be written
	}
	return text
}

// stageReport is what --json writes.
type stageReport struct {
	Droplet    fileReport              `json:"droplet"`
	Detected   string                  `json:"detected_buildpack,omitempty"` // what the buildpack calls itself
	Buildpacks []droplet.BuildpackInfo `json:"buildpacks"`                   // those that took part, in their order
	Command    string                  `json:"start_command,omitempty"`
	Types      map[string]string       `json:"process_types"` // type to command
	Backend    string                  `json:"backend"`
	Cache      *fileReport             `json:"cache,omitempty"` // for the next time
	Phases     []phaseReport           `json:"phases"`
	Seconds    float64                 `json:"seconds"` // in all
}

// fileReport tells of a file.
type fileReport struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
}

type phaseReport struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	took    time.Duration
}

func newFileReport(path string, d droplet.Digest) fileReport {
	return fileReport{Path: path, Size: d.Size, SHA1: d.SHA1, SHA256: d.SHA256}
}

func newStageReport(path, backend string, result staging.Result) *stageReport {
	r := &stageReport{
		Droplet: newFileReport(path, result.Droplet), Detected: result.DetectedBuildpack, Buildpacks: result.Buildpacks,
		Command: result.StartCommand, Types: result.ProcessTypes, Backend: backend,
	}
	if r.Buildpacks == nil {
		r.Buildpacks = []droplet.BuildpackInfo{}
	}
	for _, step := range result.Steps {
		r.Phases = append(r.Phases, phaseReport{step.Name, seconds(step.Took), step.Took})
	}
	return r
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}

func (r *stageReport) show(e *env) {
	var phases []string
	for _, p := range r.Phases {
		phases = append(phases, p.Name+" "+took(p.took))
	}
	e.screen.line("Phases: %s", strings.Join(phases, ", "))
	t := table{}
	t.add("droplet", fmt.Sprintf("%s  %s", r.Droplet.Path, size(r.Droplet.Size)))
	t.add("sha256", r.Droplet.SHA256)
	t.buildpacks(r.Detected, r.Buildpacks)
	t.commands(r.Command, r.Types)
	if r.Cache != nil {
		t.add("cache", fmt.Sprintf("%s  %s", r.Cache.Path, size(r.Cache.Size)))
	}
	t.write(e.out)
	if r.Command == "" && len(r.Types) == 0 {
		e.screen.line("Nobody told how to start it: stage it with --command, or give the app a Procfile.")
		return
	}
	if info, err := os.Stat(r.Droplet.Path); err == nil && info.Mode().IsRegular() {
		e.screen.line("To run it: droplet run %s", r.Droplet.Path)
	}
}
