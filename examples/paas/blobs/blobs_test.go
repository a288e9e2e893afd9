package blobs

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, max int64) *Store {
	t.Helper()
	var s *Store
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s, err := New(Config{Dir: filepath.Join(t.TempDir(), "blobs"), User: "u", Password: "p/@:", MaxBytes: max}, server.URL)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

func get(url string) (string, error) {
	var out bytes.Buffer
	err := transfer.Download(context.Background(), nil, url, &out, transfer.DownloadOptions{})
	return out.String(), err
}

func put(url, content string) error {
	return transfer.Upload(context.Background(), nil, url, strings.NewReader(content), int64(len(content)), transfer.UploadOptions{})
}

// What the stager and the DEA do, done with their own means.
func TestRoundTrips(t *testing.T) {
	s := open(t, 0)
	require.NoError(t, s.PutPackage(t.Context(), "app", strings.NewReader("source")))
	got, err := get(s.PackageURL("app"))
	require.NoError(t, err)
	assert.Equal(t, "source", got)

	require.NoError(t, s.PutBuildpack(t.Context(), "go_1", strings.NewReader("zip")))
	got, err = get(s.BuildpackURL("go_1"))
	require.NoError(t, err)
	assert.Equal(t, "zip", got)

	_, err = get(s.CacheURL("app"))
	assert.ErrorContains(t, err, "404")
	for _, content := range []string{"cache 1", "cache 2"} {
		require.NoError(t, put(s.CacheUploadURL("app"), content))
		got, err = get(s.CacheURL("app"))
		require.NoError(t, err)
		assert.Equal(t, content, got)
	}

	// Droplets are kept by digest: an old version can be fetched when a new one has come.
	require.NoError(t, put(s.DropletUploadURL("app"), "one"))
	require.NoError(t, put(s.DropletUploadURL("app"), "two"))
	got, err = get(s.DropletURL("app", "fe05bcdcdc4928012781a5f1a2a77cbb5398e106"))
	require.NoError(t, err)
	assert.Equal(t, "one", got)
}

func TestRefusals(t *testing.T) {
	s := open(t, 10)
	require.NoError(t, s.PutPackage(t.Context(), "app", strings.NewReader("source")))
	for name, url := range map[string]string{
		"wrong password": strings.Replace(s.PackageURL("app"), "u:", "x:", 1), "no password": strings.Replace(s.PackageURL("app"), "u:p%2F%40%3A@", "", 1),
	} {
		_, err := get(url)
		assert.ErrorContains(t, err, "401", name)
	}
	for _, key := range []string{"..", "../packages", "a/b", "", ".hidden", strings.Repeat("a", 200), "a\x00b"} {
		assert.ErrorIs(t, s.PutPackage(t.Context(), key, strings.NewReader("x")), ErrKey, "%q", key)
	}
	var tooLarge *http.MaxBytesError
	assert.ErrorAs(t, s.PutPackage(t.Context(), "big", strings.NewReader("12345678901")), &tooLarge)
	assert.ErrorContains(t, put(s.DropletUploadURL("app"), "12345678901"), "413")
	assert.ErrorContains(t, put(s.DropletUploadURL("%2e%2e"), "x"), "status 4")
	assertNothingHalf(t, s)
}

func TestTruncatedUploadLeavesNothing(t *testing.T) {
	s := open(t, 0)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("upload[droplet]", "droplet.tgz")
	require.NoError(t, err)
	_, err = io.WriteString(part, "content that goes on")
	require.NoError(t, err) // and no end of the form
	for _, body := range []string{form.String(), "", "rubbish"} {
		r := httptest.NewRequest(http.MethodPost, "/staging/droplets/app/upload", strings.NewReader(body))
		r.Header.Set("Content-Type", w.FormDataContentType())
		r.SetBasicAuth("u", "p/@:")
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, r)
		assert.Equal(t, http.StatusBadRequest, answer.Code)
	}
	assertNothingHalf(t, s)
}

// assertNothingHalf finds no file but the package of the tests.
func assertNothingHalf(t *testing.T, s *Store) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(s.cfg.Dir, func(p string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() != "app" {
			t.Errorf("left behind: %s", p)
		}
		return err
	}))
}
