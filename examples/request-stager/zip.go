package main

import (
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/examples/internal/zipdir"
	"github.com/deakit/deakit/staging/cfignore"
)

// openApp returns the zip file of an app: a file as it is, or a directory zipped into a file that has no name. The caller
// closes it.
func openApp(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("app %s: there is none; name a directory or a zip file", name)
	}
	if !info.IsDir() {
		return os.Open(name)
	}
	file, err := os.CreateTemp("", "request-stager-")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(file.Name()); err == nil {
		err = zipDir(file, name)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("zip %s: %w", name, err)
	}
	return file, nil
}

// zipDir zips a directory, but for what the cf CLI leaves out.
func zipDir(w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	ignored, err := cfignore.Read(root)
	if err != nil {
		return err
	}
	return zipdir.Write(w, dir, zipdir.Options{Times: true, Exclude: ignored.Exclude})
}
