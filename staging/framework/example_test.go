package framework_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/framework"
)

func Example() {
	dir, err := os.MkdirTemp("", "framework-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	task := framework.Task{Source: filepath.Join(dir, "app"), Dest: filepath.Join(dir, "droplet")}
	for _, name := range []string{task.Source, task.Dest} {
		if err := os.Mkdir(name, 0o755); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := os.WriteFile(filepath.Join(task.Source, "config.ru"), []byte("run App\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}

	names, err := framework.Detect(os.DirFS(task.Source), framework.Manifests())
	if err != nil {
		fmt.Println(err)
		return
	}
	plugin, err := framework.Find(names[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := framework.Stage(context.Background(), plugin, task, framework.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	script, err := os.ReadFile(filepath.Join(task.Dest, "startup"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(script))
	// Output:
	// #!/bin/bash
	// export RACK_ENV="${RACK_ENV:-production}"
	// export RUBYOPT="-rubygems -I$PWD/ruby -rstdsync"
	// export TMPDIR="$PWD/tmp"
	// mkdir ruby
	// echo "\$stdout.sync = true" >> ./ruby/stdsync.rb
	// cd app
	// %VCAP_LOCAL_RUNTIME% -S rackup $@ config.ru -E $RACK_ENV > ../logs/stdout.log 2> ../logs/stderr.log &
	// STARTED=$!
	// echo "$STARTED" >> ../run.pid
	// wait $STARTED
}
