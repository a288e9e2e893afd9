package methods_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/methods"
)

// signed serves whatever was put to it, to who has the header.
func signed(t *testing.T) (url string, content func(path string, put []byte) []byte) {
	var mu sync.Mutex
	kept := map[string][]byte{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		data, ok := kept[r.URL.Path]
		switch {
		case err != nil || r.Header.Get("X-Key") != "k":
			w.WriteHeader(http.StatusForbidden)
		case r.Method == http.MethodPut:
			kept[r.URL.Path] = body
			w.WriteHeader(http.StatusCreated)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Write(data)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func(path string, put []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if put != nil {
			kept[path] = put
		}
		return kept[path]
	}
}

var key = map[string]string{"X-Key": "k"}

func TestSyncDNS(t *testing.T) {
	everywhere(t, plan{}, func(t *testing.T, n *node) {
		ctx := t.Context()
		records := []byte(`{"version":7,"records":[["10.0.0.9","a.bosh"]]}`)
		d := n.blob("dns", records)
		assert.Equal(t, `"synced"`, n.value("sync_dns", "dns", d, 7))
		assert.Contains(t, n.read("root/etc/hosts"), "10.0.0.9 a.bosh")
		assert.Equal(t, string(records), n.read("instance/dns/records.json"))
		answer, err := n.SyncDNS(ctx, "gone", d, 6)
		require.NoError(t, err, "an older one is not even fetched")
		assert.Equal(t, "synced", answer)
		n.fails("version from unpacked dns blob does not match", "sync_dns", "dns", d, 8)
		n.fails("not found", "sync_dns", "gone", d, 8)
		n.fails("Extracting method arguments", "sync_dns", "dns", d, -8)

		url, content := signed(t)
		newer := []byte(`{"version":8,"records":[["10.0.0.10","b.bosh"]]}`)
		content("/dns", newer)
		_, err = n.SyncDNSWithSignedURL(ctx, client.SignedDNS{URL: url + "/dns", Digest: sum(t, newer), Version: 8, Headers: key})
		require.NoError(t, err)
		assert.Contains(t, n.read("root/etc/hosts"), "10.0.0.10 b.bosh")
		n.fails("403", "sync_dns_with_signed_url", client.SignedDNS{URL: url + "/dns?secret", Digest: sum(t, newer), Version: 9})
		n.fails("no digest", "sync_dns_with_signed_url", map[string]any{"signed_url": url + "/dns", "version": 9})
	})
}

// What has a signed URL goes there and nowhere else.
func TestSignedURLs(t *testing.T) {
	n := run(t, plan{})
	url, content := signed(t)
	source := blobtest.Tgz(t, "", blobtest.Files{"packaging": "echo made > $BOSH_INSTALL_TARGET/x"})
	content("/source", source)
	made, err := n.CompilePackageWithSignedURL(t.Context(), client.SignedPackage{
		GetURL: url + "/source", PutURL: url + "/made", Digest: sum(t, source), Name: "p", Version: "1", Headers: key,
	})
	require.NoError(t, err)
	assert.Regexp(t, "^[0-9a-f]{40};sha512:[0-9a-f]{128}$", made.SHA1)
	_, files := blobtest.Read(t, content("/made", nil))
	assert.Equal(t, "made\n", files["./x"])

	n.write("sys/log/a/x.log", "ax", 0o644)
	fetched, err := n.FetchLogsWithSignedURL(t.Context(), client.SignedLogs{URL: url + "/logs", LogType: "job", Headers: key})
	require.NoError(t, err)
	assert.Regexp(t, "^"+sum(t, content("/logs", nil))+";sha512:", fetched.Digest)

	// Templates and packages of a spec may have one, too.
	pkg := content("/made", nil)
	spec := n.spec("", "web", "1", client.Compiled{SHA1: sum(t, pkg)})
	spec["packages"] = map[string]any{"tool": map[string]any{
		"name": "tool", "version": "1", "sha1": sum(t, pkg), "signed_url": url + "/made", "blobstore_headers": key,
	}}
	require.NoError(t, n.Apply(t.Context(), spec))
	assert.Equal(t, "made\n", n.read("packages/tool/x"))
}

func TestDeleteARPEntries(t *testing.T) {
	var mu sync.Mutex
	var forgotten []netip.Addr
	n := run(t, plan{Config: methods.Config{ForgetNeighbor: func(_ context.Context, ip netip.Addr) error {
		mu.Lock()
		defer mu.Unlock()
		forgotten = append(forgotten, ip)
		return errors.New("there is none")
	}}})
	assert.Equal(t, `{}`, n.value("delete_arp_entries", map[string]any{"ips": []string{"10.0.0.1", "fe80::1"}}))
	n.fails("Extracting method arguments", "delete_arp_entries", map[string]any{"ips": []string{"10.0.0.2", "dev eth0"}})
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1")}, forgotten)
}
