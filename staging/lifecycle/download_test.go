package lifecycle_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
)

var downloaded = scripts(map[string]string{"detect": "exit 0", "finalize": `cat "$(dirname "$0")/../words"`})

func TestZipByURL(t *testing.T) {
	files := stagetest.Files{"words": "of the zip file\n"}
	for name, content := range downloaded {
		files[name] = content
	}
	contents := map[string][]byte{"/bp.zip": files.Zip(t), "/evil.zip": stagetest.Files{"../../evil": "x"}.Zip(t), "/html.zip": []byte("<html>")}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.URL.Path == "/moved.zip" {
			http.Redirect(w, r, "/bp.zip", http.StatusFound)
			return
		}
		content, ok := contents[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(content)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	base := strings.Replace(server.URL, "https://", "https://me:secret@", 1)
	for name, test := range map[string]struct {
		url, flag string
		code      int
		text      string
	}{
		"zip":                 {base + "/bp.zip", "-skipCertVerify", 0, "Downloaded buildpack `" + server.URL + "/bp.zip` ("},
		"redirect":            {base + "/moved.zip", "-skipCertVerify", 0, "/moved.zip` ("},
		"unknown certificate": {base + "/bp.zip", "-skipCertVerify=false", 1, "Failed to download buildpack '" + server.URL + "/bp.zip'"},
		"missing":             {base + "/none.zip", "-skipCertVerify", 1, "HTTP status: 404"},
		"forbidden":           {server.URL + "/bp.zip", "-skipCertVerify", 1, "HTTP status: 403"},
		"way out":             {base + "/evil.zip", "-skipCertVerify", 1, "Failed to extract buildpack '" + server.URL + "/evil.zip'"},
		"no zip":              {base + "/html.zip", "-skipCertVerify", 1, "Failed to extract buildpack"},
		"no server":           {"http://127.0.0.1:1/bp.zip", "-skipCertVerify", 1, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, app)
			for range 2 { // the second time what the first one left is in the way
				assert.Equal(t, test.code, s.builder("-buildpackOrder="+test.url, "-skipDetect", test.flag), s.stderr.String())
			}
			out := s.stdout.String() + s.stderr.String()
			assert.Contains(t, out, test.text)
			assert.NotContains(t, out, "secret")
			if test.code == 0 {
				assert.Contains(t, out, "of the zip file\n")
				assert.DirExists(t, s.path("downloads/"+buildpack.Hash(test.url)+"/bin"))
			}
		})
	}
}

func TestGitByURL(t *testing.T) {
	needs.Tool(t, "git", "git")
	repository := t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	downloaded.Write(t, repository)
	stagetest.Files{"words": "first\n"}.Write(t, repository)
	git("add", ".")
	git("commit", "-qm", "first")
	first := git("rev-parse", "HEAD")
	git("tag", "v1")
	stagetest.Files{"words": "second\n"}.Write(t, repository)
	git("commit", "-qam", "second")
	for fragment, want := range map[string]string{"": "second\n", "#v1": "first\n", "#main": "second\n", "#" + first: "first\n"} {
		s := newSite(t, app)
		assert.Equal(t, 0, s.builder("-buildpackOrder=file://"+repository+fragment), s.stderr.String())
		assert.Equal(t, want, s.stdout.String())
	}
	s := newSite(t, app)
	assert.Equal(t, 1, s.builder("-buildpackOrder=file://"+repository+"#none"))
	assert.Contains(t, s.stderr.String(), "Failed to clone git repository at file://"+repository)
	assert.Equal(t, 1, s.builder("-buildpackOrder=file://user:secret@example.com/x"))
	assert.NotContains(t, s.stderr.String(), "secret")
}
