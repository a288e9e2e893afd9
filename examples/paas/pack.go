package main

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // names content, protects nothing
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/examples/internal/zipdir"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/cfignore"
)

// packSource packs a directory, but for what the cf CLI leaves out, into a temporary file, which is gone when it is closed.
func packSource(ctx context.Context, dir string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	ignored, err := cfignore.Read(root)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, err)
	}
	file, err := unnamed()
	if err != nil {
		return nil, err
	}
	if _, err := droplet.Pack(ctx, file, root, ".", droplet.PackOptions{Level: 1, Exclude: ignored.Exclude}); err != nil {
		return nil, fmt.Errorf("pack %s: %w", dir, closeAfter(file, err))
	}
	return rewound(file)
}

// unnamed returns a file that has no name any more.
func unnamed() (*os.File, error) {
	file, err := os.CreateTemp("", "deakit-push-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, closeAfter(file, err)
	}
	return file, nil
}

func rewound(file *os.File) (io.ReadCloser, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, closeAfter(file, err)
	}
	return file, nil
}

// closeAfter gives a file up because of err.
func closeAfter(file *os.File, err error) error {
	_ = file.Close() // what it held is not wanted
	return err
}

// openBuildpack returns a buildpack of this machine as an archive, with a key that changes with its content.
func openBuildpack(source buildpack.Source) (io.ReadCloser, string, error) {
	path := source.Location
	if source.Digest != "" {
		return nil, "", fmt.Errorf("buildpack %s: a digest is for archives on servers; leave it out", path)
	}
	file, err := unnamed()
	if err != nil {
		return nil, "", err
	}
	digest := sha1.New() //nolint:gosec // see above
	out := io.MultiWriter(file, digest)
	if source.Kind == buildpack.Directory {
		err = zipdir.Write(out, path, zipdir.Options{}) // without times: the same content has the same key
	} else {
		err = copyFile(out, path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("buildpack %s: %w", path, closeAfter(file, err))
	}
	content, err := rewound(file)
	base, _, _ := strings.Cut(filepath.Base(path), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(base))
	return content, cmp.Or(strings.Trim(name, "-"), "buildpack") + "_" + hex.EncodeToString(digest.Sum(nil)), err
}

func copyFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}
