package script_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/script"
	"github.com/deakit/deakit/agent/spec"
)

func Example() {
	base, err := os.MkdirTemp("", "vcap")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(base)
	// A job that is installed; package job does that.
	specs := spec.NewStore(base)
	if err := specs.Save(spec.Spec{Job: spec.Job{Templates: []spec.Template{{Name: "smoke-tests", Version: "1"}}}}); err != nil {
		panic(err)
	}
	bin := filepath.Join(base, "jobs/smoke-tests/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "run"), []byte("#!/bin/sh\necho all is well\nexit 3\n"), 0o755); err != nil {
		panic(err)
	}

	runner, err := script.New(script.Config{Base: base, Specs: specs})
	if err != nil {
		panic(err)
	}
	result, err := runner.RunErrand(context.Background(), new("smoke-tests"))
	fmt.Printf("%+v %v\n", result, err)
	_, err = runner.RunErrand(context.Background(), new("other"))
	fmt.Println(err)
	// Output:
	// {ExitCode:3 Stdout:all is well
	//  Stderr:} <nil>
	// Could not find errand other
}
