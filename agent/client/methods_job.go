package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ApplySpec is what a machine is to be, with its members in the order of the public client. Apply takes any other form too.
type ApplySpec struct {
	Deployment        string                    `json:"deployment"`
	Name              string                    `json:"name"` // of the instance group
	Index             int                       `json:"index"`
	ID                string                    `json:"id"`
	AZ                string                    `json:"az"`
	Packages          map[string]BlobRef        `json:"packages"`
	Networks          map[string]map[string]any `json:"networks"`
	Job               JobSpec                   `json:"job"`
	RenderedTemplates ArchiveRef                `json:"rendered_templates_archive"`
	ConfigurationHash string                    `json:"configuration_hash"` // without one the spec is only kept
}

// JobSpec names the job templates of a machine.
type JobSpec struct {
	Name      string    `json:"name"`
	Templates []BlobRef `json:"templates"`
}

// BlobRef is a package or a template in a blob.
type BlobRef struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA1    string `json:"sha1"` // any digest
	BlobID  string `json:"blobstore_id"`
}

// ArchiveRef is an archive in a blob.
type ArchiveRef struct {
	BlobID string `json:"blobstore_id"`
	SHA1   string `json:"sha1"`
}

// MarshalJSON implements json.Marshaler: objects that are not there are empty ones.
func (s ApplySpec) MarshalJSON() ([]byte, error) {
	type plain ApplySpec
	p := plain(s)
	if p.Packages == nil {
		p.Packages = map[string]BlobRef{}
	}
	if p.Networks == nil {
		p.Networks = map[string]map[string]any{}
	}
	if p.Job.Templates == nil {
		p.Job.Templates = []BlobRef{}
	}
	return json.Marshal(p)
}

// Apply makes the machine what a spec says: an ApplySpec, or anything with JSON of that kind.
func (c *Client) Apply(ctx context.Context, spec any) error { return c.done(ctx, "apply", spec) }

// Prepare fetches what Apply with the same spec will need. Agents that know no such thing are left alone.
func (c *Client) Prepare(ctx context.Context, spec any) error {
	return passOver(c.done(ctx, "prepare", spec))
}

// passOver has no error for what an agent does not know.
func passOver(err error) error {
	if errors.Is(err, ErrUnsupported) {
		return nil
	}
	return err
}

// StartJobs starts all processes of the machine's jobs.
func (c *Client) StartJobs(ctx context.Context) error {
	answer, err := run[string](ctx, c, "start")
	if err == nil && answer != "started" {
		return fmt.Errorf("agent: Failed to start agent services with response: '%.80s'", answer)
	}
	return err
}

// StopJobs stops them. With protocol 3 it waits until they have ended.
func (c *Client) StopJobs(ctx context.Context) error { return c.done(ctx, "stop") }

// Drain lets the jobs prepare for "update" (with the new spec) or "shutdown" (nil). The number is of old agents: so many
// seconds are to be waited, and after a negative one it is to be asked again with "status".
func (c *Client) Drain(ctx context.Context, kind string, spec any) (int, error) {
	if spec == nil {
		spec = struct{}{}
	}
	return run[int](ctx, c, "drain", kind, spec)
}

// RunScript runs bin/<name> of all jobs that have it. Agents that know no scripts are left alone.
func (c *Client) RunScript(ctx context.Context, name string, env map[string]string) error {
	return passOver(c.done(ctx, "run_script", name, struct {
		Env map[string]string `json:"env,omitempty"`
	}{env}))
}

// Errand is what a job with bin/run came to.
type Errand struct {
	ExitCode int    `json:"exit_code"` // 128 and more: died of a signal
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
}

// RunErrand runs bin/run of a job and waits for its end, with any exit code. An empty name is for agents that take none. Use
// StartErrand for one that may have to be cancelled.
func (c *Client) RunErrand(ctx context.Context, name string) (Errand, error) {
	task, err := c.StartErrand(ctx, name)
	if err != nil {
		return Errand{}, err
	}
	return task.Wait(ctx)
}

// An ErrandTask is an errand under way.
type ErrandTask struct{ *Task }

// StartErrand starts an errand.
func (c *Client) StartErrand(ctx context.Context, name string) (ErrandTask, error) {
	var arguments []any
	if name != "" {
		arguments = append(arguments, name)
	}
	task, err := c.Start(ctx, "run_errand", arguments...)
	return ErrandTask{task}, err
}

// Wait waits for the end of the errand, cancelled or not.
func (t ErrandTask) Wait(ctx context.Context) (Errand, error) {
	value, err := t.Task.Wait(ctx)
	return into[Errand](t.Method, value, err)
}

// Compiled is a package that an agent has compiled.
type Compiled struct {
	BlobID       string `json:"blobstore_id"`
	SHA1         string `json:"sha1"`           // any digest
	CompileLogID string `json:"compile_log_id"` // old agents: the blob with the log
}

type compiled struct {
	Result Compiled `json:"result"`
}

// CompilePackage compiles a source package with others that are compiled already.
func (c *Client) CompilePackage(ctx context.Context, source BlobRef, deps map[string]BlobRef) (Compiled, error) {
	if deps == nil {
		deps = map[string]BlobRef{}
	}
	result, err := run[compiled](ctx, c, "compile_package", source.BlobID, source.SHA1, source.Name, source.Version, deps)
	return result.Result, err
}

// SignedPackage is a source package at a URL, and where to put the compiled one.
type SignedPackage struct {
	GetURL  string               `json:"package_get_signed_url"`
	PutURL  string               `json:"upload_signed_url"`
	Digest  string               `json:"digest"`
	Name    string               `json:"name"`
	Version string               `json:"version"`
	Deps    map[string]SignedRef `json:"deps"`
	Headers map[string]string    `json:"blobstore_headers,omitempty"` // to be sent with both
}

// SignedRef is a compiled package at a URL.
type SignedRef struct {
	BlobRef
	GetURL  string            `json:"package_get_signed_url"`
	Headers map[string]string `json:"blobstore_headers,omitempty"`
}

// CompilePackageWithSignedURL is CompilePackage from and to URLs. The result has the digest only.
func (c *Client) CompilePackageWithSignedURL(ctx context.Context, source SignedPackage) (Compiled, error) {
	if source.Deps == nil {
		source.Deps = map[string]SignedRef{}
	}
	result, err := run[compiled](ctx, c, "compile_package_with_signed_url", source)
	return result.Result, err
}
