package lifecycle_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/lifecycle"
)

// Example stages an app with a buildpack of two lines and asks what would start it.
func Example() {
	dir, err := os.MkdirTemp("", "lifecycle-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	programs := filepath.Join(dir, "buildpacks", buildpack.Hash("static"), "bin")
	for name, content := range map[string]string{
		filepath.Join(dir, "app", "Procfile"): "web: serve --here\n",
		filepath.Join(programs, "detect"):     "#!/bin/sh\necho Static\n",
		filepath.Join(programs, "finalize"):   "#!/bin/sh\necho '-----> Nothing to do'\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			fmt.Println(err)
			return
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			fmt.Println(err)
			return
		}
	}
	cfg := lifecycle.BuilderConfig{
		BuildDir: "app", BuildpacksDir: "buildpacks", BuildpackOrder: []string{"static"},
		OutputDroplet: "droplet/droplet.tgz", OutputMetadata: "result.json", OutputBuildArtifactsCache: "cache.tgz",
		BuildpacksDownloadDir: "downloads", BuildArtifactsCacheDir: "cache",
	}
	p := lifecycle.Process{Dir: dir, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stdout}
	if err := lifecycle.Build(context.Background(), cfg, p); err != nil {
		fmt.Println("exit code", lifecycle.Exit(p, err))
		return
	}
	result, err := os.ReadFile(filepath.Join(dir, "result.json"))
	fmt.Printf("%s%v\n", result, err)
	// Output:
	// -----> Nothing to do
	// {"lifecycle_metadata":{"buildpack_key":"static","detected_buildpack":"Static","buildpacks":[{"key":"static","name":"Static"}]},"process_types":{"web":"serve --here"},"processes":[{"type":"web","command":"serve --here"}],"execution_metadata":"","lifecycle_type":"buildpack"}
	// <nil>
}
