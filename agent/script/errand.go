package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/agent/spec"
)

// An ErrandResult is the value of run_errand. A longer output than Config.MaxOutput has its middle cut out, where a line says
// "... 1234 bytes left out ...".
type ErrandResult struct {
	ExitCode int    `json:"exit_code"` // 128 + n if signal n ended it
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
}

// RunErrand is run_errand: it runs bin/run of a job, by default that of job.template, or the first one where that is empty. An exit
// status is no error, also if the script was ended because ctx was: whoever cancels an errand wants to know what it has done.
func (r *Runner) RunErrand(ctx context.Context, name *string) (ErrandResult, error) {
	current, err := r.cfg.Specs.Load()
	if err != nil {
		return ErrandResult{}, err
	}
	job := current.Job.Template
	if templates := current.Templates(); job == "" && len(templates) > 0 {
		job = templates[0].Name
	}
	if name != nil {
		job = *name
		if !slices.ContainsFunc(current.Templates(), func(t spec.Template) bool { return t.Name == job }) {
			return ErrandResult{}, fmt.Errorf("Could not find errand %.80s", job)
		}
	}
	if job == "" {
		return ErrandResult{}, errors.New("At least one job template is required to run an errand")
	}
	if err := spec.CheckName("job", job); err != nil {
		return ErrandResult{}, err
	}
	return r.errand(ctx, job)
}

func (r *Runner) errand(ctx context.Context, job string) (ErrandResult, error) {
	s, err := r.at(job, "run")
	if err != nil {
		return ErrandResult{}, err
	}
	if s.path == "" {
		return ErrandResult{}, fmt.Errorf("Job template %s does not have executable bin/run", job)
	}
	env, err := r.prepare()
	if err != nil {
		return ErrandResult{}, err
	}
	stdout, stderr := process.NewBounded(r.cfg.MaxOutput), process.NewBounded(r.cfg.MaxOutput)
	status, err := process.Run(ctx, process.Command{
		Path: s.path, Dir: "/", Env: env, Stdout: stdout, Stderr: stderr, Grace: r.cfg.Grace, Sweep: true, Register: r.register,
	})
	if err != nil && (status == process.NotStarted || ctx.Err() == nil) {
		return ErrandResult{}, fmt.Errorf("Running errand of job '%s': %w", job, err)
	}
	return ErrandResult{status, fit(stdout, r.cfg.MaxOutput), fit(stderr, r.cfg.MaxOutput)}, nil
}

// fit shortens an output until its JSON text has so many bytes at most, give or take the mark of what is left out. That of a byte may
// have six.
func fit(output *process.Bounded, most int) string {
	const mark = 64
	for size := most; size >= 2; size /= 2 {
		text := output.Shortened(size)
		data, err := json.Marshal(text)
		if err != nil { // of a string there is always a JSON text
			panic(err)
		}
		if len(data) <= most+mark {
			return text
		}
	}
	return ""
}
