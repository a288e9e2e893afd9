// Package zipdir zips directories as clients of a platform do.
package zipdir

import (
	"archive/zip"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Options are the options of Write.
type Options struct {
	// Times keeps modification times. Without them the same content makes the same file.
	Times bool

	// Exclude leaves out what it says, and does not look into a directory for which it says prune. Nil leaves nothing out.
	Exclude func(name string, dir bool) (exclude, prune bool)
}

// Write writes a zip file of a directory, with modes, links and hidden files. Sockets and the like are left out; no link
// is followed.
func Write(w io.Writer, dir string, opts Options) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := zip.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if opts.Exclude != nil {
			switch exclude, prune := opts.Exclude(name, entry.IsDir()); {
			case prune && entry.IsDir():
				return fs.SkipDir
			case exclude:
				return nil
			}
		}
		return member(archive, root, name, opts.Times)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func member(archive *zip.Writer, root *os.Root, name string, times bool) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	header := &zip.FileHeader{Name: name, Method: zip.Deflate}
	header.SetMode(info.Mode())
	if times {
		header.Modified = info.ModTime()
	}
	var content io.Reader
	switch {
	case info.IsDir():
		header.Name += "/"
		content = strings.NewReader("")
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		content = strings.NewReader(target)
	case info.Mode().IsRegular():
		file, err := root.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		content = file
	default:
		return nil
	}
	entry, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(entry, content)
	return err
}
