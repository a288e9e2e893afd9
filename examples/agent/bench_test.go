package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/examples/internal/programtest"
)

// BenchmarkAgent is one serial client over HTTPS, and the memory of the agent before it came. With DEAKIT_BOSH_AGENT, the path of a
// bosh-agent that was built with CGO_ENABLED=0, that one is measured as well, with the same command line and settings.
//
// The bare server is net/http with the same TLS and a constant for an answer: what no agent can be faster than.
//
// The client that makes a connection for each request resumes TLS sessions, as that of bosh create-env does.
func BenchmarkAgent(b *testing.B) {
	ours := filepath.Join(b.TempDir(), "agent")
	build := exec.Command("go", "build", "-o", ours, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(b, err, "%s", out)
	b.Run("ours", func(b *testing.B) { benchmarkAgent(b, ours) })
	if original := os.Getenv("DEAKIT_BOSH_AGENT"); original != "" {
		b.Run("original", func(b *testing.B) { benchmarkAgent(b, original) })
	}
	b.Run("bare", benchmarkBare)
}

func benchmarkBare(b *testing.B) {
	certificate, err := transport.SelfSigned("127.0.0.1")
	require.NoError(b, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"value":"pong"}`)
	}))
	server.TLS, err = transport.ServerTLS(certificate)
	require.NoError(b, err)
	server.StartTLS()
	defer server.Close()
	bare := &measured{url: server.URL}
	b.Run("ping", func(b *testing.B) { bare.ask(b, bare.client(false), "ping") })
	b.Run("ping/connection-each", func(b *testing.B) { bare.ask(b, bare.client(true), "ping") })
}

func benchmarkAgent(b *testing.B, binary string) {
	b.Run("memory", func(b *testing.B) {
		var sum float64
		for b.Loop() {
			agent := startAgent(b, binary)
			sum += agent.memory(b)
			agent.end(b)
		}
		b.ReportMetric(sum/float64(b.N), "MiB")
	})
	agent := startAgent(b, binary)
	defer agent.end(b)
	for _, method := range []string{"ping", "get_state"} {
		b.Run(method, func(b *testing.B) { agent.ask(b, agent.client(false), method) })
		b.Run(method+"/connection-each", func(b *testing.B) { agent.ask(b, agent.client(true), method) })
	}
}

type measured struct {
	cmd *exec.Cmd
	url string
}

// startAgent runs an agent on the dummy platform until it answers.
func startAgent(b *testing.B, binary string) *measured {
	dir := b.TempDir()
	at := "127.0.0.1:" + strconv.Itoa(programtest.FreePort(b))
	certificate, err := transport.SelfSigned("127.0.0.1")
	require.NoError(b, err)
	write := func(name string, content any) string {
		data, err := json.Marshal(content)
		require.NoError(b, err)
		name = filepath.Join(dir, name)
		require.NoError(b, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(b, os.WriteFile(name, data, 0o600))
		return name
	}
	source := write("settings.json", object{
		"agent_id": "a", "vm": object{"name": "v"}, "networks": object{"default": object{"type": "dynamic", "ip": "127.0.0.1"}},
		"blobstore": object{"provider": "local", "options": object{"blobstore_path": filepath.Join(dir, "blobs")}},
		"env": object{"bosh": object{"mbus": object{"urls": []string{"https://u:p@" + at}, "cert": object{
			"ca": certificate.CA, "certificate": certificate.Certificate, "private_key": certificate.PrivateKey,
		}}}},
	})
	config := write("agent.json", object{"Infrastructure": object{"Settings": object{
		"Sources": []object{{"Type": "File", "SettingsPath": source}},
	}}})
	agent := &measured{exec.Command(binary, "-P", "dummy", "-M", "dummy", "-C", config, "-b", dir), "https://u:p@" + at + "/agent"}
	require.NoError(b, agent.cmd.Start())
	require.Eventually(b, func() bool {
		conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}, 20*time.Second, 50*time.Millisecond)
	return agent
}

func (m *measured) end(b *testing.B) {
	require.NoError(b, m.cmd.Process.Signal(syscall.SIGTERM))
	_ = m.cmd.Wait() // the original ends with the signal
}

// memory is what the process occupies, in MiB.
func (m *measured) memory(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(m.cmd.Process.Pid) + "/status")
	require.NoError(b, err)
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(after)[0])
	require.NoError(b, err)
	return float64(kb) / 1024
}

func (m *measured) client(connectionEach bool) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: connectionEach, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}}}
}

func (m *measured) ask(b *testing.B, c *http.Client, method string) {
	defer c.CloseIdleConnections()
	body := []byte(`{"method":"` + method + `","arguments":[],"reply_to":"deakit"}`)
	for b.Loop() {
		response, err := c.Post(m.url, "application/json", bytes.NewReader(body))
		require.NoError(b, err)
		reply, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.HasPrefix(reply, []byte(`{"value":`)) {
			b.Fatalf("%s: %v %s", method, err, reply)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkApply50 applies a spec of 50 packages of 40 files through an agent, over HTTPS.
func BenchmarkApply50(b *testing.B) {
	m := development(b)
	spec := m.spec(client.Compiled{})
	content := files{}
	for n := range 40 {
		content["lib/"+strconv.Itoa(n)] = strings.Repeat(strconv.Itoa(n)+" line\n", 1000)
	}
	sum := m.blob("package", content)
	for round := 0; b.Loop(); round++ {
		spec.Packages = map[string]client.BlobRef{}
		for n := range 50 {
			name := "p" + strconv.Itoa(n)
			spec.Packages[name] = client.BlobRef{Name: name, Version: strconv.Itoa(round), SHA1: sum, BlobID: "package"}
		}
		require.NoError(b, m.agent.Apply(b.Context(), spec))
	}
}
