package buildpacks_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// Every server that the static buildpack may choose shows the pages and nothing else.
func TestStaticServers(t *testing.T) {
	for _, tc := range []struct{ server, aptPackage string }{
		{"go", "golang-go"}, {"python3", "python3"}, {"busybox", "busybox"},
	} {
		t.Run(tc.server, func(t *testing.T) {
			needs.Tool(t, tc.server, tc.aptPackage)
			build := newApp(t, map[string]string{
				"Staticfile":             "",
				"Procfile":               "worker: true\n",
				"index.html":             "the index\n",
				"a b.txt":                "blanks\n",
				"sub/index.html":         "below\n",
				"sub/.git/config":        "hidden\n",
				"list/file.txt":          "a file\n",
				".env":                   "hidden\n",
				".well-known/page":       "hidden\n",
				"cgi-bin/program":        "#!/bin/sh\necho\necho ran\n",
				"list/deep/.hidden/file": "hidden\n",
			})
			out, err := runScript(t, "static", "compile", []string{"STATIC_SERVER=" + tc.server}, build, cache)
			require.NoError(t, err, out)
			assert.Contains(t, out, "-----> Serving '.' with "+tc.server)
			app := start(t, build, release(t, "static", build))

			for path, want := range map[string]string{
				"/": "the index\n", "/a%20b.txt": "blanks\n", "/sub/": "below\n", "/list/file.txt": "a file\n", "/?x=/.env": "the index\n",
			} {
				status, body := app.get(path)
				assert.Equal(t, http.StatusOK, status, path)
				assert.Equal(t, want, body, path)
			}
			for _, path := range []string{
				"/.env", "/%2eenv", "/sub/.git/config", "/sub/%2Egit/config", "/.well-known/page", "/list/deep/.hidden/file",
				"/Staticfile", "/Procfile", "/.deakit/release.yml", "/.deakit/", "/list/", "/list/deep/",
				"/../Staticfile", "/../../../../../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/sub/../.env", "//.env", "/./.env",
			} {
				status, body := app.get(path)
				assert.GreaterOrEqual(t, status, 400, "%s: %s", path, body)
				assert.NotContains(t, body, "hidden\n", path)
			}
			_, body := app.get("/cgi-bin/program")
			assert.NotContains(t, body, "\nran\n", "a static site runs no programs")

			code := app.terminate()
			if tc.server != "busybox" { // which just dies
				assert.Equal(t, 0, code)
			}
		})
	}
}
