package blobstore_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/blobstore/blobstoretest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestLocal(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		return blobstore.NewLocal(filepath.Join(t.TempDir(), "data", "blobs"), blobstore.LocalOptions{})
	}, blobstoretest.Options{})
}

func TestLocalKeepsExisting(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		return blobstore.NewLocal(t.TempDir(), blobstore.LocalOptions{KeepExisting: true})
	}, blobstoretest.Options{KeepsExisting: true})
}

func TestDAV(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		url, _ := serve(t, davServer)
		store, err := blobstore.NewDAV(blobstore.DAVConfig{Endpoint: url + "/", User: "agent", Password: "pw", HTTP: client(t)})
		require.NoError(t, err)
		return store
	}, blobstoretest.Options{})
}

func TestSimple(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		url, _ := serve(t, simpleServer)
		store, err := blobstore.NewSimple(blobstore.SimpleConfig{Endpoint: url, User: "agent", Password: "pw", HTTP: client(t)})
		require.NoError(t, err)
		return store
	}, blobstoretest.Options{KeepsExisting: true})
}

func TestS3(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		url, _ := serve(t, s3Server)
		store, err := blobstore.NewS3(blobstore.S3Config{Endpoint: url, Region: "eu-west-1", Bucket: "bucket", Folder: "cf",
			AccessKeyID: "KEY", SecretAccessKey: "secret", HTTP: client(t)})
		require.NoError(t, err)
		return store
	}, blobstoretest.Options{})
}

func TestJetStream(t *testing.T) {
	srv := messagingtest.NewServer(t, func(o *server.Options) { o.JetStream, o.StoreDir = true, t.TempDir() })
	conn, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	buckets := 0
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store {
		buckets++
		cfg := blobstore.JetStreamConfig{Conn: conn, Bucket: "blobs-" + string(rune('a'+buckets))}
		_, err := blobstore.NewJetStream(t.Context(), cfg)
		require.NoError(t, err)
		store, err := blobstore.NewJetStream(t.Context(), cfg) // which is there now
		require.NoError(t, err)
		return store
	}, blobstoretest.Options{})

	store, err := blobstore.Open("nats", nil, blobstore.Environment{NATS: conn})
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, store.Put(ctx, "id", strings.NewReader("text")))
}

// An agent comes up before its NATS server does, and uses the store when that is there.
func TestJetStreamComesLater(t *testing.T) {
	srv := messagingtest.NewServer(t, func(o *server.Options) { o.JetStream, o.StoreDir = true, t.TempDir() })
	srv.Stop()
	conn, err := messaging.Connect(messaging.Config{
		Servers: []string{srv.URL()}, ReconnectDelay: func(int) time.Duration { return 10 * time.Millisecond },
	})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	store, err := blobstore.Open("nats", nil, blobstore.Environment{NATS: conn})
	require.NoError(t, err)
	_, err = store.Exists(t.Context(), "id")
	require.ErrorIs(t, err, messaging.ErrDisconnected)
	require.ErrorIs(t, store.Put(t.Context(), "id", strings.NewReader("text")), messaging.ErrDisconnected)
	srv.Start()
	require.Eventually(t, conn.IsConnected, time.Minute, time.Millisecond)
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	var got strings.Builder
	require.NoError(t, store.Get(t.Context(), "id", &got))
	assert.Equal(t, "text", got.String())
	require.NoError(t, store.Delete(t.Context(), "id"))
	there, err := store.Exists(t.Context(), "id")
	require.NoError(t, err)
	assert.False(t, there)
}

// program is what an external blobstore looks like to the agent.
const program = `#!/bin/sh
set -e
[ "$1" = -c ] && grep -q '"folder":"FOLDER"' "$2"
case $3 in
get) cp "FOLDER/$4" "$5" ;;
put) cp "$4" "FOLDER/.$5" && mv "FOLDER/.$5" "FOLDER/$5" ;;
esac
`

func external(t *testing.T, script string) *blobstore.External {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	require.NoError(t, os.Mkdir(folder, 0o700))
	script = strings.ReplaceAll(script, "FOLDER", folder)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bosh-blobstore-test"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	temp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(temp, 0o700))
	t.Cleanup(func() {
		left, err := os.ReadDir(temp)
		assert.NoError(t, err)
		assert.Empty(t, left, "temporary files are left")
	})
	store, err := blobstore.NewExternal(blobstore.ExternalConfig{Provider: "test", Options: map[string]any{"folder": folder},
		ConfigDir: filepath.Join(dir, "bosh", "etc"), TempDir: temp})
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "bosh", "etc", "blobstore-test.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	return store
}

func TestExternal(t *testing.T) {
	blobstoretest.Run(t, func(t *testing.T) blobstore.Store { return external(t, program) },
		blobstoretest.Options{GetAndPutOnly: true})
}

func TestExternalFails(t *testing.T) {
	_, err := blobstore.Open("nowhere", nil, blobstore.Environment{BaseDir: t.TempDir()})
	require.ErrorContains(t, err, "executable bosh-blobstore-nowhere not found in PATH")
	_, err = blobstore.Open("../x", nil, blobstore.Environment{BaseDir: t.TempDir()})
	require.ErrorContains(t, err, "invalid provider")

	store := external(t, "#!/bin/sh\necho starting >&2; echo no route to host >&2; exit 3\n")
	err = store.Get(t.Context(), "id", io.Discard)
	assert.ErrorContains(t, err, "blob id: bosh-blobstore-test: exit status 3: ")
	assert.ErrorContains(t, err, "no route to host")
}

// TestExternalIsKilled with all that it started.
func TestExternalIsKilled(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "alive")
	store := external(t, "#!/bin/sh\n(echo started; sleep 1000) > "+pipe+" & wait\n")
	require.NoError(t, mkfifo(pipe))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- store.Get(ctx, "id", io.Discard) }()
	f, err := os.Open(pipe) // waits for the writer
	require.NoError(t, err)
	defer f.Close()
	_, err = io.ReadFull(f, make([]byte, len("started\n")))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	rest, err := io.ReadAll(f) // ends when nobody has the pipe open any more
	require.NoError(t, err)
	assert.Empty(t, rest)
}

func TestDummy(t *testing.T) {
	store, err := blobstore.Open("dummy", nil, blobstore.Environment{})
	require.NoError(t, err)
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	require.ErrorIs(t, store.Get(t.Context(), "id", io.Discard), blobstore.ErrNotFound)
	there, err := store.Exists(t.Context(), "id")
	require.NoError(t, err)
	assert.False(t, there)
	require.NoError(t, store.Delete(t.Context(), "id"))
	require.ErrorIs(t, store.Get(t.Context(), "../id", io.Discard), blobstore.ErrInvalidID)
}

func TestLocalFiles(t *testing.T) {
	dir := t.TempDir()
	store := blobstore.NewLocal(dir, blobstore.LocalOptions{})
	require.NoError(t, store.Put(t.Context(), "id", strings.NewReader("text")))
	info, err := os.Stat(filepath.Join(dir, "id"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())

	// What a killed process left is removed, what stands beside it is not.
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".incoming-X"), []byte("half"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	require.NoError(t, store.Clean())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	// Neither the directory tmp nor anything that is no file is a blob; a link leads nowhere outside.
	require.ErrorIs(t, store.Put(t.Context(), "tmp", strings.NewReader("text")), blobstore.ErrInvalidID)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	require.NoError(t, mkfifo(filepath.Join(dir, "pipe")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	for _, id := range []string{"dir", "pipe"} {
		require.ErrorIs(t, store.Get(t.Context(), id, io.Discard), blobstore.ErrNotFound, id)
	}
	require.Error(t, store.Get(t.Context(), "link", io.Discard))
	require.NoError(t, store.Put(t.Context(), "link", strings.NewReader("text")))
	info, err = os.Lstat(filepath.Join(dir, "link"))
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
}

func TestOpen(t *testing.T) {
	base := t.TempDir()
	env := blobstore.Environment{BaseDir: base}
	store, err := blobstore.Open("local", map[string]any{"blobstore_path": "/var/vcap/micro_bosh/data/cache"}, env)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(base, "data", "blobs"), store.(*blobstore.Local).Dir())

	type object = map[string]any
	for want, test := range map[string]struct {
		provider string
		options  object
	}{
		"missing blobstore_path":                {"local", nil},
		"blobstore_path must be a string":       {"local", object{"blobstore_path": 7.0}},
		"endpoint must be a string":             {"dav", object{"endpoint": []any{}}},
		"begins with http":                      {"simple", object{"endpoint": "host"}},
		"ssl_no_verify must be a boolean":       {"dav", object{"endpoint": "http://h", "ssl_no_verify": "yes"}},
		"no certificate in PEM form":            {"dav", object{"endpoint": "http://h", "tls": object{"cert": object{"ca": "x"}}}},
		"port must be a whole number":           {"s3", object{"bucket_name": "b", "port": 1.5}},
		"bucket_name":                           {"s3", object{}},
		"both access_key_id and secret_access_": {"s3", object{"bucket_name": "b", "access_key_id": "k"}},
		"encryption_key must be a string":       {"s3", object{"bucket_name": "b", "encryption_key": 7}},
		"no connection to NATS":                 {"nats", nil},
	} {
		_, err := blobstore.Open(test.provider, test.options, env)
		require.ErrorContains(t, err, want)
	}

	for provider, options := range map[string]object{
		"dav":    {"endpoint": "http://u:p@10.0.0.6:25250", "user": nil},
		"simple": {"endpoint": "http://10.0.0.6:25250", "bucket": "resources"},
		"s3":     {"bucket_name": "b", "host": "minio", "port": "9000", "use_ssl": false, "s3_force_path_style": true},
	} {
		_, err := blobstore.Open(provider, options, env)
		require.NoError(t, err, provider)
	}
}

func TestBucketThatIsOnlyRead(t *testing.T) {
	store, err := blobstore.Open("s3", map[string]any{"bucket_name": "b"}, blobstore.Environment{})
	require.NoError(t, err)
	require.ErrorIs(t, store.Put(t.Context(), "id", strings.NewReader("text")), blobstore.ErrReadOnly)
	require.ErrorIs(t, store.Delete(t.Context(), "id"), blobstore.ErrReadOnly)
}
