package applog_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
)

type collected []applog.Line

func (c *collected) Emit(l applog.Line) { *c = append(*c, l) }

func TestWriter(t *testing.T) {
	var got collected
	w := applog.NewWriter(&got, applog.Line{App: "guid", Source: applog.Staging})
	for _, piece := range []string{"one\ntw", "o\r\n", "\n", strings.Repeat("x", 100<<10), "\nthe end"} {
		_, err := io.WriteString(w, piece)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	var texts []string
	for _, line := range got {
		assert.Equal(t, "guid", line.App)
		assert.Equal(t, applog.Staging, line.Source)
		assert.False(t, line.Time.IsZero())
		texts = append(texts, line.Text)
	}
	assert.Equal(t, []string{"one", "two", "", strings.Repeat("x", 60<<10), strings.Repeat("x", 40<<10), "the end"}, texts)
}
