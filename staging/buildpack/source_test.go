package buildpack_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/buildpack"
)

func TestParseSource(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir("dir", 0o755))
	require.NoError(t, os.WriteFile("bp.zip", nil, 0o644))
	require.NoError(t, os.WriteFile("odd#name", nil, 0o644))
	sum256, sum1 := strings.Repeat("aB", 32), strings.Repeat("0c", 20)
	for text, want := range map[string]buildpack.Source{
		"dir":                       {Kind: buildpack.Directory, Location: here + "/dir"},
		"./dir/":                    {Kind: buildpack.Directory, Location: here + "/dir"},
		"bp.zip":                    {Kind: buildpack.ArchiveFile, Location: here + "/bp.zip"},
		"odd#name":                  {Kind: buildpack.ArchiveFile, Location: here + "/odd#name"},
		"bp.zip#sha256=" + sum256:   {Kind: buildpack.ArchiveFile, Location: here + "/bp.zip", Digest: "sha256:" + strings.ToLower(sum256)},
		"https://h/bp.zip":          {Kind: buildpack.ArchiveURL, Location: "https://h/bp.zip"},
		"http://u:p@h/bp.TGZ?a=b":   {Kind: buildpack.ArchiveURL, Location: "http://u:p@h/bp.TGZ?a=b"},
		"https://h/bp.tar.gz":       {Kind: buildpack.ArchiveURL, Location: "https://h/bp.tar.gz"},
		"https://h/bp#sha1=" + sum1: {Kind: buildpack.ArchiveURL, Location: "https://h/bp", Digest: "sha1:" + sum1},
		"https://h/org/bp":          {Kind: buildpack.GitRepository, Location: "https://h/org/bp"},
		"https://h/org/bp.git#v1.2": {Kind: buildpack.GitRepository, Location: "https://h/org/bp.git", Ref: "v1.2"},
		"ssh://git@h/org/bp#main":   {Kind: buildpack.GitRepository, Location: "ssh://git@h/org/bp", Ref: "main"},
		"file:///srv/bp.zip":        {Kind: buildpack.GitRepository, Location: "file:///srv/bp.zip"},
	} {
		got, err := buildpack.ParseSource(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, !strings.Contains(text, "://"), got.Local(), text)
	}
	for text, want := range map[string]string{
		"none": "no such file or directory", "dir#sha256=" + sum256: "directory, which has no digest", "bp.zip#sha256=ab": "wrong length",
		"https://h/bp.zip#main": "an archive has no branch", "https://user:secret@h/%zz": "cannot be parsed", "/dev/null": "neither a directory nor a file",
		"git@host.example:org/repo": "URL of an archive or of a git repository", "https://h/bp#sha1=" + sum256: "wrong length", "": "no such file",
	} {
		_, err := buildpack.ParseSource(text)
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "secret")
	}
	source, err := buildpack.ParseSource("https://user:secret@h/bp.zip?sig=secret#sha1=" + sum1)
	require.NoError(t, err)
	assert.Equal(t, "https://h/bp.zip#sha1="+sum1, source.String())
}

// fetch opens and prepares what a text names.
func fetch(t *testing.T, text string, opts buildpack.FetchOptions) (buildpack.Buildpack, string, error) {
	t.Helper()
	source, err := buildpack.ParseSource(text)
	require.NoError(t, err)
	return fetchTo(t, t.TempDir(), source, opts)
}

func fetchTo(t *testing.T, dir string, source buildpack.Source, opts buildpack.FetchOptions) (buildpack.Buildpack, string, error) {
	t.Helper()
	bp, err := source.Open(dir, opts)
	require.NoError(t, err)
	var log bytes.Buffer
	err = bp.Prepare(t.Context(), buildpack.Build{Log: &log})
	return bp, log.String(), err
}

func TestArchives(t *testing.T) {
	files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
	files["lib/data"] = "data"
	files["lib/link -> /etc"] = ""
	nested := stagetest.Files{}
	for name, content := range files {
		nested["my-bp-1.2/"+name] = content
	}
	archives := map[string][]byte{
		"/my-bp.zip": files.Zip(t), "/my-bp.tgz": files.Tgz(t), "/nested.zip": nested.Zip(t), "/nested.tar.gz": nested.Tgz(t),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" || archives[r.URL.Path] == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(archives[r.URL.Path])
	}))
	defer server.Close()
	url := strings.Replace(server.URL, "://", "://user:secret@", 1)
	for name, data := range archives {
		local := filepath.Join(t.TempDir(), filepath.Base(name))
		require.NoError(t, os.WriteFile(local, data, 0o600))
		for _, text := range []string{
			local, url + name, fmt.Sprintf("%s%s#sha256=%x", url, name, sha256.Sum256(data)), fmt.Sprintf("%s#sha1=%x", local, sha1.Sum(data)),
		} {
			t.Run(strings.TrimPrefix(text, url), func(t *testing.T) {
				bp, log, err := fetch(t, text, buildpack.FetchOptions{})
				require.NoError(t, err)
				assert.Equal(t, strings.Contains(text, "://"), strings.HasPrefix(log, "-----> Downloading buildpack "+server.URL+name))
				assert.NotContains(t, log+bp.Path(), "secret")
				fetched := bp.(*buildpack.Fetched)
				dir := fetched.Found().Path()
				assert.True(t, strings.HasPrefix(dir, fetched.Dir()), dir)
				assert.Equal(t, fetched.Dir(), bp.Mounts()[0].Src)
				content, err := os.ReadFile(filepath.Join(dir, "lib/data"))
				require.NoError(t, err)
				assert.Equal(t, "data", string(content))
				info, err := os.Stat(filepath.Join(dir, "bin/compile"))
				require.NoError(t, err)
				assert.NotZero(t, info.Mode()&0o100)
				others, err := os.ReadDir(filepath.Dir(fetched.Dir()))
				require.NoError(t, err)
				assert.Len(t, others, 1, "the archive itself is gone")
			})
		}
	}
}

func TestArchivesThatFail(t *testing.T) {
	files := stagetest.Files{"bin/detect": strings.Repeat("x", 100_000)}
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bp.zip":
			_, _ = w.Write(files.Zip(t))
		case "/way-out.tgz":
			_, _ = w.Write(stagetest.Files{"../evil": "x"}.Tgz(t))
		case "/page.zip":
			_, _ = io.WriteString(w, "<html>not found</html>")
		case "/slow.zip":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-hang
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	defer close(hang)
	url := strings.Replace(server.URL, "://", "://user:secret@", 1)
	for _, test := range []struct {
		path string
		opts buildpack.ArchiveOptions
		is   error
		text string
	}{
		{"/none.zip", buildpack.ArchiveOptions{}, nil, "HTTP status: 404"},
		{"/bp.zip#sha256=" + strings.Repeat("0", 64), buildpack.ArchiveOptions{}, buildpack.ErrDigest, "it has another digest: sha256 "},
		{"/bp.zip", buildpack.ArchiveOptions{MaxUnpacked: 1000}, tarball.ErrLimit, "limit exceeded"},
		{"/bp.zip", buildpack.ArchiveOptions{MaxBytes: 100}, nil, "more than 100 bytes"},
		{"/way-out.tgz", buildpack.ArchiveOptions{}, tarball.ErrPath, `"../evil" refused`},
		{"/page.zip", buildpack.ArchiveOptions{}, nil, "neither a zip file nor a tar file"},
		{"/slow.zip", buildpack.ArchiveOptions{Timeout: 50 * time.Millisecond}, nil, "it took longer than 50ms"},
	} {
		t.Run(test.path, func(t *testing.T) {
			_, log, err := fetch(t, url+test.path, buildpack.FetchOptions{Archive: test.opts})
			var failed *buildpack.ArchiveError
			require.ErrorAs(t, err, &failed)
			assert.ErrorContains(t, err, test.text)
			if test.is != nil {
				assert.ErrorIs(t, err, test.is)
			}
			assert.NotContains(t, log, test.text, "whoever asked tells it")
			assert.NotContains(t, log+err.Error(), "secret")
		})
	}

	reason := errors.New("a reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	source, err := buildpack.ParseSource(server.URL + "/slow.zip")
	require.NoError(t, err)
	bp, err := source.Open(t.TempDir(), buildpack.FetchOptions{})
	require.NoError(t, err)
	cancel(reason)
	assert.ErrorIs(t, bp.Prepare(ctx, buildpack.Build{Log: io.Discard}), reason)
}

func TestCopiesOfDirectories(t *testing.T) {
	dir := stagetest.Files{"bin/compile": "#!/bin/sh\n", "lib/data": "data", "link -> lib/data": ""}.Dir(t)
	source, err := buildpack.ParseSource(dir)
	require.NoError(t, err)
	parent := t.TempDir()
	bp, log, err := fetchTo(t, parent, source, buildpack.FetchOptions{Copy: true})
	require.NoError(t, err)
	assert.Empty(t, log)
	assert.Equal(t, dir, bp.Path())
	copied := bp.Mounts()[0].Src
	assert.True(t, strings.HasPrefix(copied, parent+"/"), copied)
	content, err := os.ReadFile(filepath.Join(copied, "link"))
	require.NoError(t, err)
	assert.Equal(t, "data", string(content))
	info, err := os.Stat(filepath.Join(copied, "bin/compile"))
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&0o100)

	require.NoError(t, syscall.Mknod(filepath.Join(dir, "lib/big"), syscall.S_IFREG|0o600, 0))
	require.NoError(t, os.Truncate(filepath.Join(dir, "lib/big"), 5<<30))
	_, _, err = fetchTo(t, t.TempDir(), source, buildpack.FetchOptions{Copy: true})
	require.ErrorIs(t, err, tarball.ErrLimit)
	assert.ErrorContains(t, err, "copy buildpack "+dir)

	for _, files := range []stagetest.Files{{"x": ""}, {}} {
		dir := files.Dir(t)
		_, err = buildpack.Source{Kind: buildpack.Directory, Location: dir}.Open(parent, buildpack.FetchOptions{Copy: true})
		require.ErrorIs(t, err, buildpack.ErrNoPrograms)
		assert.ErrorContains(t, err, dir)
		archive := stagetest.Save(t, files.Zip(t))
		_, _, err = fetch(t, archive, buildpack.FetchOptions{})
		require.ErrorIs(t, err, buildpack.ErrNoPrograms)
		assert.ErrorContains(t, err, "buildpack "+archive+": it has no bin/compile")
	}
}

func TestUseBeforePrepare(t *testing.T) {
	name := stagetest.Save(t, stagetest.Scripts("exit 0", "exit 0", "").Zip(t))
	source, err := buildpack.ParseSource(name)
	require.NoError(t, err)
	bp, err := source.Open(t.TempDir(), buildpack.FetchOptions{})
	require.NoError(t, err)
	assert.Equal(t, buildpack.StagedRoot, bp.Root())
	_, _, err = bp.Detect(t.Context(), buildpack.Build{})
	require.Error(t, err)
	require.Error(t, bp.Compile(t.Context(), buildpack.Build{}))
	_, err = bp.Release(t.Context(), buildpack.Build{})
	require.Error(t, err)

	_, err = buildpack.Source{Kind: "tape"}.Open(t.TempDir(), buildpack.FetchOptions{})
	require.ErrorIs(t, err, buildpack.ErrSource)
	_, err = buildpack.Source{Kind: buildpack.ArchiveURL, Location: "http://h/x.zip", Digest: "md5:0"}.Open(t.TempDir(), buildpack.FetchOptions{})
	require.ErrorIs(t, err, buildpack.ErrSource)
}
