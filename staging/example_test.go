package staging_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// Example stages a directory with a buildpack of three lines.
func Example() {
	dir, err := os.MkdirTemp("", "staging-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string]string{
		"app/index.html": "hello",
		"bp/bin/detect":  "#!/bin/sh\ntest -f \"$1/index.html\" && echo Static\n",
		"bp/bin/compile": "#!/bin/sh\necho '-----> Nothing to compile'\n",
		"bp/bin/release": "#!/bin/sh\necho 'default_process_types: {web: serve}'\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			fmt.Println(err)
			return
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := stageDirectory(context.Background(), dir); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Static is started with "serve"
	// steps: prepare detect compile release pack
}

func stageDirectory(ctx context.Context, dir string) error {
	backend, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	if err != nil {
		return err
	}
	defer backend.Close(ctx)
	bp, err := buildpack.NewClassic("", filepath.Join(dir, "bp"))
	if err != nil {
		return err
	}
	var droplet bytes.Buffer
	task := staging.Task{
		App: filepath.Join(dir, "app"), Buildpacks: []buildpack.Buildpack{bp}, Droplet: &droplet,
	}
	c, err := backend.Create(ctx, container.Spec{BindMounts: task.Mounts()})
	if err != nil {
		return err
	}
	defer c.Destroy(ctx)
	result, err := staging.Stage(ctx, task, staging.Parts{Container: c})
	if err != nil {
		return err
	}
	fmt.Printf("%s is started with %q\nsteps:", result.DetectedBuildpack, result.StartCommand)
	for _, step := range result.Steps {
		fmt.Print(" ", step.Name)
	}
	fmt.Println()
	return nil
}
