package main

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

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

// zipDir zips a directory with modes, links and hidden files, but for what the cf CLI leaves out.
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
	archive := zip.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		exclude, prune := ignored.Exclude(p, entry.IsDir())
		switch {
		case prune && entry.IsDir():
			return fs.SkipDir
		case exclude:
			return nil
		}
		return zipMember(archive, root, p)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func zipMember(archive *zip.Writer, root *os.Root, p string) error {
	info, err := root.Lstat(p)
	if err != nil {
		return err
	}
	header, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	header.Name, header.Method = p, zip.Deflate
	var content io.Reader
	switch {
	case info.IsDir():
		header.Name += "/"
		content = strings.NewReader("")
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(p)
		if err != nil {
			return err
		}
		content = strings.NewReader(target)
	case info.Mode().IsRegular():
		file, err := root.Open(p)
		if err != nil {
			return err
		}
		defer file.Close()
		content = file
	default:
		return nil // sockets and the like are no part of an app
	}
	member, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(member, content)
	return err
}
