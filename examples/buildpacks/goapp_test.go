package buildpacks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

func TestGoApp(t *testing.T) {
	needs.Tool(t, "go", "golang-go")
	build := copyApp(t, "go")
	compile(t, "go", build)
	command := release(t, "go", build)

	t.Run("pages", func(t *testing.T) {
		app := start(t, build, command, "DATABASE_URL=mysql2://user:secret@127.0.0.1/db")
		assert.Equal(t, "ok\n", app.mustGet("/health"))
		assert.Equal(t, "Hello from shop\ninstance index: 4\ninstance id: 9be4\nversion: f31d\n", app.mustGet("/"))
		environment := app.mustGet("/env")
		assert.Contains(t, environment, "\nDATABASE_URL\n")
		assert.Contains(t, environment, "CF_INSTANCE_INDEX=4\n")
		assert.NotContains(t, environment, "secret")
		app.mustGet("/log?line=one%0Atwo")
		status, _ := app.get("/slow?ms=x")
		assert.Equal(t, 400, status)
		assert.Equal(t, 0, app.terminate())
		assert.Contains(t, app.output(), "\none two\n")
	})

	t.Run("ends after its requests", func(t *testing.T) {
		app := start(t, build, command)
		app.mustGet("/health")
		answer := make(chan string, 1)
		go func() {
			_, body := app.get("/slow?ms=500")
			answer <- body
		}()
		require.Eventually(t, func() bool { return strings.Contains(app.output(), "slow request") }, patience, 5*time.Millisecond)
		assert.Equal(t, 0, app.terminate())
		assert.Equal(t, "waited 500 ms\n", <-answer)
	})

	t.Run("crashes", func(t *testing.T) {
		app := start(t, build, command)
		app.mustGet("/health")
		app.get("/crash")
		assert.Equal(t, 3, app.wait())
	})
}
