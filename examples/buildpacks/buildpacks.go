// Package buildpacks carries the sample buildpacks of its directories, of the classic kind (bin/detect, bin/compile,
// bin/release), in the program that imports it. Its tests stage and run the sample apps in ../apps with them.
package buildpacks

import (
	"archive/zip"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
)

//go:embed all:go all:ruby all:python all:node all:procfile all:static
var files embed.FS

// Names returns the buildpacks in the order in which to try them: those that look at source before those that take
// what is left.
func Names() []string { return []string{"go", "ruby", "python", "node", "procfile", "static"} }

// WriteZip writes a buildpack as the zip file that an administrator would upload.
func WriteZip(w io.Writer, name string) error {
	archive := zip.NewWriter(w)
	err := fs.WalkDir(files, name, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative := p[len(name)+1:]
		header := &zip.FileHeader{Name: relative, Method: zip.Deflate}
		header.SetMode(0o644)
		if path.Dir(relative) == "bin" {
			header.SetMode(0o755) // embedding loses modes
		}
		member, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		content, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		_, err = member.Write(content)
		return err
	})
	if err != nil {
		return fmt.Errorf("zip buildpack %s: %w", name, err)
	}
	return archive.Close()
}
