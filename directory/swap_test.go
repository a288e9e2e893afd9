package directory

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// swaps is how often TestSwapWhileServing swaps; DEAKIT_SWAPS=5000000 makes a long run of it.
func swaps(t *testing.T) int64 {
	text := os.Getenv("DEAKIT_SWAPS")
	if text == "" {
		return 50_000
	}
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err, "DEAKIT_SWAPS")
	return n
}

// Directories, files and links are swapped for links to the outside and for FIFOs while requests of all kinds run. Nothing of
// the outside is ever seen, not even a name, and no request hangs.
func TestSwapWhileServing(t *testing.T) {
	f := newFixture(t, Config{Archives: 8})
	outside := filepath.Join(filepath.Dir(f.root), "outside")
	layout(t, filepath.Dir(f.root), map[string]string{"outside/file": "secret", "outside/secret-name": "secret"})
	layout(t, f.root, map[string]string{
		"dir/file": "public", "dir-evil": "->../outside",
		"abs/file": "public", "abs-evil": "->" + outside,
		"way/sub/file": "public", "way/sub-evil": "->../../../outside", // in the middle of the path
		"file": "public", "file-evil": "->../outside/file",
		"inner": "->dir", "inner-evil": "->" + filepath.Dir(f.root),
		"pipe": "public",
	})
	require.NoError(t, unix.Mkfifo(filepath.Join(f.root, "pipe-evil"), 0o666))
	f.registry.instances["boxed"] = Tree{Dir: f.root, ContainerRoot: f.root}
	f.registry.instances["owned"] = Tree{Dir: f.root, AsOwner: true}
	api, _ := serve(t, FileAPI(f.local, nil))
	remote, err := NewRemote(RemoteConfig{URL: api})
	require.NoError(t, err)
	t.Cleanup(remote.Close)
	front, err := NewServer(Config{Resolver: remote, Archives: 8})
	require.NoError(t, err)
	t.Cleanup(front.Close)
	frontURL, _ := serve(t, front)

	var left atomic.Int64
	left.Store(swaps(t))
	var swappers, clients sync.WaitGroup
	for range 2 {
		swappers.Go(func() {
			for left.Load() > 0 {
				for _, name := range []string{"dir", "abs", "way/sub", "file", "inner", "pipe"} {
					path := filepath.Join(f.root, name)
					_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path+"-evil", unix.RENAME_EXCHANGE)
					left.Add(-1)
				}
			}
		})
	}
	var targets []string
	for _, path := range []string{"/dir/file", "/abs/file", "/way/sub/file", "/file", "/inner/file", "/pipe"} {
		for _, id := range []string{"app", "boxed", "owned"} {
			targets = append(targets, f.signer.InstanceURL(f.url, id, &path), f.signer.InstanceURL(frontURL, id, &path))
		}
	}
	for _, path := range []string{"/dir", "/abs/", "/way/sub", "/inner", "/way", "/"} {
		for _, more := range []string{"", "&archive=tgz"} {
			targets = append(targets, f.signed(path, more), f.signer.InstanceURL(frontURL, "boxed", &path)+more)
		}
	}
	var mu sync.Mutex
	served := map[int]int{}
	for range 4 {
		clients.Go(func() {
			for left.Load() > 0 {
				for _, target := range targets {
					status, err := checkPublic(f.client, target)
					if !assert.NoError(t, err) {
						left.Store(0)
						return
					}
					mu.Lock()
					served[status]++
					mu.Unlock()
				}
			}
		})
	}
	clients.Wait()
	swappers.Wait()
	t.Log("answers by status: ", served)
	assert.NotZero(t, served[http.StatusOK])
	assert.NotZero(t, served[http.StatusForbidden])
}

// checkPublic sends a request, and returns an error if the answer has anything of the outside.
func checkPublic(client *http.Client, target string) (status int, err error) {
	resp, err := client.Get(target)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var content []byte
	if strings.Contains(target, "archive=tgz") && resp.StatusCode == http.StatusOK {
		content, err = plainTar(resp.Body)
	} else {
		content, err = io.ReadAll(resp.Body)
	}
	if err == nil && (strings.Contains(string(content), "secret") || resp.StatusCode == http.StatusInternalServerError) {
		err = fmt.Errorf("%s: %d %s", target, resp.StatusCode, content)
	}
	return resp.StatusCode, err
}
