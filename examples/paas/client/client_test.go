package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
)

func TestErrorsKeepTheEnvironmentSecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer server.Close()
	c, err := client.Dial(t.Context(), server.URL)
	require.NoError(t, err)
	defer c.Close()
	server.Close()
	settings := controller.Settings{Name: "app", Env: []string{"PASSWORD=hunter2"}}
	err = c.Push(t.Context(), settings, strings.NewReader(""), func(controller.Event) {})
	require.ErrorContains(t, err, "POST "+server.URL+"/v1/apps/app/push: ")
	require.NotContains(t, err.Error(), "hunter2")
}
