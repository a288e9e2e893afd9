package lifecycle

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/internal/ziptar"
	"github.com/deakit/deakit/staging/buildpack"
)

// downloadTimeout bounds the download of a zip file (buildpackapplifecycle).
const downloadTimeout = 10 * time.Minute

// download gets all buildpacks that are named by URL, also those that detection will not come to.
func (b *builder) download(ctx context.Context) error {
	for _, name := range b.BuildpackOrder {
		u, err := url.Parse(name)
		if err != nil {
			return errors.New("Invalid buildpack url: it cannot be parsed") // err has it, with its user info
		}
		if !u.IsAbs() {
			continue
		}
		dir := b.dir(name)
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Dir(dir), 0o755)); err != nil {
			return err
		}
		if strings.HasSuffix(u.Path, ".zip") {
			err = b.downloadZip(ctx, name, dir)
		} else {
			err = b.clone(ctx, name, dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clone gets a git repository. Whatever git can do without asking is allowed: it runs for the owner of the build.
func (b *builder) clone(ctx context.Context, name, dir string) error {
	opts := buildpack.GitOptions{Schemes: []string{"https", "http", "git", "ssh", "file"}}
	git, err := buildpack.NewGit(name, filepath.Dir(dir), opts)
	if err != nil {
		return fmt.Errorf("Failed to clone git repository at %s: %w", shown(name), err)
	}
	parent := filepath.Dir(git.Dir())
	defer os.RemoveAll(parent)
	if err := git.Prepare(ctx, buildpack.Build{Log: io.Discard}); err != nil {
		return fmt.Errorf("Failed to clone git repository at %s: %w", shown(name), err)
	}
	return os.Rename(git.Dir(), dir)
}

func (b *builder) downloadZip(ctx context.Context, name, dir string) error {
	file, err := os.CreateTemp("", "buildpack-*.zip")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, downloadTimeout, fmt.Errorf("it took longer than %v", downloadTimeout))
	defer cancel()
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{InsecureSkipVerify: b.SkipCertVerify},
	}
	defer transport.CloseIdleConnections()
	err = transfer.Download(ctx, &http.Client{Transport: transport}, name, file, transfer.DownloadOptions{FollowRedirects: true})
	if err != nil {
		return fmt.Errorf("Failed to download buildpack '%s': %w", shown(name), err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		err = unzip(ctx, file, size, dir)
	}
	if err != nil {
		return fmt.Errorf("Failed to extract buildpack '%s': %w", shown(name), err)
	}
	fmt.Fprintf(b.process.Stdout, "Downloaded buildpack `%s` (%s)\n", shown(name), byteSize(size))
	return nil
}

// unzip unpacks a zip file into a new directory.
func unzip(ctx context.Context, archive io.ReaderAt, size int64, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(ziptar.Write(ctx, to, archive, size, tarball.Limits{}))
	}()
	err = tarball.Extract(ctx, root, ".", from, tarball.ExtractOptions{AbsoluteLinks: true})
	from.CloseWithError(io.ErrClosedPipe)
	<-written
	return err
}

// byteSize formats a number of bytes as buildpackapplifecycle does: "1.5M".
func byteSize(bytes int64) string {
	if bytes < 1 {
		return "0B"
	}
	const units = "BKMGTPE"
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + units[unit:unit+1]
}
