package logging_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/logging"
)

func Example() {
	dir, err := os.MkdirTemp("", "logging")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "dea.log")
	log, output, err := logging.New(logging.Config{Level: "debug", File: path})
	if err != nil {
		panic(err)
	}
	log.With("source", "DEA", "index", 0).Info("Dea started", "uuid", "0-4c9f")
	if err := output.Close(); err != nil {
		panic(err)
	}

	line, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(line), ",") // without the time
	before, _, _ := strings.Cut(rest, `,"thread_id"`)
	fmt.Println(before)
	// Output: "message":"Dea started","log_level":"info","source":"DEA","data":{"index":0,"uuid":"0-4c9f"}
}
