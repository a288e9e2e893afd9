package oci_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/droplet/oci"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// Source becomes an image: a buildpack makes a droplet of it in a container, and the droplet goes on as an OCI image
// layout, which "skopeo copy oci:DIR:v1 docker://..." takes.
func Example_stage() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string]string{ // in real life these are there
		"app/index.html": "hello",
		"bp/bin/detect":  "#!/bin/sh\ntest -f \"$1/index.html\" && echo Static\n",
		"bp/bin/compile": "#!/bin/sh\necho '-----> Nothing to compile'\n",
		"bp/bin/release": "#!/bin/sh\necho 'default_process_types: {web: serve}'\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			log.Fatal(err)
		}
	}
	droplet, err := os.Create(filepath.Join(dir, "droplet.tgz"))
	if err != nil {
		log.Fatal(err)
	}
	defer droplet.Close()
	if err := stageDirectory(context.Background(), dir, droplet); err != nil {
		log.Fatal(err)
	}

	if _, err := droplet.Seek(0, io.SeekStart); err != nil { // Export reads from where the file stands
		log.Fatal(err)
	}
	layout := subdirectory(dir, "image")
	defer layout.Close()
	if _, err := oci.Export(context.Background(), oci.Dir(layout), droplet, oci.Options{Ref: "v1"}); err != nil {
		log.Fatal(err)
	}
	image, err := oci.OpenDir(layout, oci.OpenOptions{Ref: "v1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(image.Config().Config.Cmd, image.Config().Config.ExposedPorts)
	// Output:
	// Static is started with "serve"
	// [serve] map[8080/tcp:{}]
}

// stageDirectory stages dir/app with the buildpack dir/bp. The process back end confines nothing; package container/runc does.
func stageDirectory(ctx context.Context, dir string, droplet io.Writer) error {
	backend, err := process.New(process.Options{Depot: filepath.Join(dir, "containers")})
	if err != nil {
		return err
	}
	defer backend.Close(ctx)
	bp, err := buildpack.Open("", filepath.Join(dir, "bp"))
	if err != nil {
		return err
	}
	task := staging.Task{App: filepath.Join(dir, "app"), Buildpacks: []buildpack.Buildpack{bp}, Droplet: droplet}
	c, err := backend.Create(ctx, container.Spec{BindMounts: task.Mounts()})
	if err != nil {
		return err
	}
	defer c.Destroy(ctx)
	result, err := staging.Stage(ctx, task, staging.Parts{Container: c})
	if err != nil {
		return err
	}
	fmt.Printf("%s is started with %q\n", result.DetectedBuildpack, result.StartCommand)
	return nil
}
