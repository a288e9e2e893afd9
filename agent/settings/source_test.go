package settings_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/program"
)

// shelf is a mounter of devices that hold these files.
type shelf struct {
	devices map[string]map[string]string
	mounted atomic.Int32
	broken  error // of Unmount
}

func (s *shelf) Mount(_ context.Context, device, dir, fileSystem string, options []string) error {
	files, ok := s.devices[device]
	if !ok {
		return fmt.Errorf("no device %s", device)
	}
	if fileSystem != "" || len(options) != 1 || options[0] != "ro" {
		return errors.New("not read-only")
	}
	s.mounted.Add(1)
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Unmount(_ context.Context, dir string) error {
	s.mounted.Add(-1)
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		_ = os.RemoveAll(filepath.Join(dir, entry.Name()))
	}
	return errors.Join(err, s.broken)
}

var quickly = settings.Retry{Delay: -1, Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// answers serves texts by path, and 404 otherwise.
func answers(t *testing.T, texts map[string]string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(text))
	})
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func registryAnswer(t *testing.T, document string) string {
	t.Helper()
	answer, err := json.Marshal(map[string]string{"status": "ok", "settings": document})
	require.NoError(t, err)
	return string(answer)
}

// guestInfo stands for the tools of the hypervisor, which has one variable.
func guestInfo(value *string) program.Runner {
	return func(_ context.Context, name string, args ...string) ([]byte, error) {
		if name != "vmtoolsd" {
			return nil, errors.New("not installed")
		}
		command := args[len(args)-1]
		if text, ok := strings.CutPrefix(command, "info-set guestinfo.userdata "); ok {
			*value = text
		}
		return []byte(*value + "\n"), nil
	}
}

func noProgram(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.New("not installed")
}

// TestEverySourceYieldsTheSame settings for the same content.
func TestEverySourceYieldsTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env.json")
	require.NoError(t, os.WriteFile(file, []byte(composed), 0o600))
	encoded := base64.RawURLEncoding.EncodeToString([]byte(composed))
	disc := filepath.Join(t.TempDir(), "sr0")
	require.NoError(t, os.WriteFile(disc, []byte("readable"), 0o600))
	media := &shelf{devices: map[string]map[string]string{
		"/dev/config-2": {"ec2/latest/user-data": composed, "ec2/latest/meta-data.json": `{"public-keys":{"0":{"openssh-key":"ssh-rsa k"}}}`},
		disc:            {"env": composed},
	}}
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.URL.Path == "/instances/i-1/settings" && user == "admin" && password == "pw" && r.Header.Get("Accept") == "application/json" {
			_, _ = w.Write([]byte(registryAnswer(t, composed)))
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	endpoint := strings.Replace(registry, "://", "://admin:pw@", 1)
	metadata := answers(t, map[string]string{
		"/plain": composed, "/encoded": encoded, "/quoted": `"` + encoded + `"`, "/padded": encoded + "==\n",
		"/registry": fmt.Sprintf(`{"registry":{"endpoint":%q},"server":{"name":"i-1"}}`, endpoint),
		"/id":       "i-1\n",
	})
	secured := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/token" && r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "300":
			_, _ = w.Write([]byte("t0ken"))
		case r.Header.Get("X-aws-ec2-metadata-token") == "t0ken" && r.Header.Get("Metadata-Flavor") == "Google":
			_, _ = w.Write([]byte(composed))
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	text, packed := base64.StdEncoding.EncodeToString([]byte(composed)), zipped(t, composed)

	want, err := settings.File{Path: file}.Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", want.VM.Name)
	for name, source := range map[string]settings.Source{
		"HTTP, plain":           settings.HTTP{URI: metadata, UserDataPath: "/plain", Retry: quickly},
		"HTTP, base64":          settings.HTTP{URI: metadata, UserDataPath: "/encoded", Retry: quickly},
		"HTTP, quoted base64":   settings.HTTP{URI: metadata, UserDataPath: "/quoted", Retry: quickly},
		"HTTP, padded base64":   settings.HTTP{URI: metadata, UserDataPath: "/padded", Retry: quickly},
		"HTTP with a token":     settings.HTTP{URI: secured, TokenPath: "/token", Headers: map[string]string{"Metadata-Flavor": "Google"}, Retry: quickly},
		"registry, instance id": settings.HTTP{URI: metadata, UserDataPath: "/registry", InstanceIDPath: "/id", Retry: quickly},
		"registry, server name": settings.HTTP{URI: metadata, UserDataPath: "/registry", UseServerName: true, Retry: quickly},
		"registry alone":        settings.Registry{Endpoint: strings.TrimPrefix(endpoint, "http://"), InstanceID: "i-1", Retry: quickly},
		"InstanceMetadata":      settings.InstanceMetadata{URI: metadata, SettingsPath: "/plain", Retry: quickly},
		"config drive":          settings.ConfigDrive{DiskPaths: []string{"/dev/CONFIG-2", "/dev/config-2"}, UserDataPath: "ec2/latest/user-data", Mounter: media},
		"CD-ROM":                settings.CDROM{Device: disc, Mounter: media, Run: noProgram},
		"guest info":            settings.VsphereGuestInfo{Run: guestInfo(&text)},
		"guest info, gzip":      settings.VsphereGuestInfo{Run: guestInfo(&packed)},
	} {
		got, err := source.Settings(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	assert.Zero(t, media.mounted.Load(), "still mounted")

	key, err := settings.ConfigDrive{DiskPaths: []string{"/dev/config-2"}, MetaDataPath: "ec2/latest/meta-data.json", Mounter: media}.PublicSSHKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ssh-rsa k", key)
}

func TestSourcesFail(t *testing.T) {
	disc := filepath.Join(t.TempDir(), "sr0")
	require.NoError(t, os.WriteFile(disc, []byte("readable"), 0o600))
	broken := errors.New("target is busy")
	media := &shelf{devices: map[string]map[string]string{"/dev/d": {"user-data": `{"server":{}}`}, disc: {"env": "{"}}}
	stuck := &shelf{devices: media.devices, broken: broken}
	metadata := answers(t, map[string]string{
		"/nothing": `{"server":{"name":"x"}}`, "/junk": "not base64 !", "/number": "7", "/type": `{"registry":7}`,
		"/registry": `{"registry":{"endpoint":"http://u:s3cret@127.0.0.1:1"},"server":{"name":"x"}}`,
	})
	object := answers(t, map[string]string{"/instances/i/settings": `{"status":"ok","settings":{"agent_id":"a"}}`,
		"/instances/n/settings": `{"status":"not_found"}`})
	wiped := "---"
	for name, test := range map[string]struct {
		source settings.Source
		want   string
	}{
		"no file":              {settings.File{Path: "/no/such/file"}, "no such file"},
		"no settings":          {settings.HTTP{URI: metadata, UserDataPath: "/nothing", Retry: quickly}, "Metadata does not provide settings"},
		"junk":                 {settings.HTTP{URI: metadata, UserDataPath: "/junk", Retry: quickly}, "neither a JSON object nor one in base64"},
		"number":               {settings.HTTP{URI: metadata, UserDataPath: "/number", Retry: quickly}, "neither"},
		"wrong type":           {settings.HTTP{URI: metadata, UserDataPath: "/type", Retry: quickly}, "registry"},
		"404":                  {settings.HTTP{URI: metadata, UserDataPath: "/absent", Retry: quickly}, "HTTP status 404"},
		"no URL":               {settings.HTTP{UserDataPath: "/x", Retry: quickly}, "invalid URL"},
		"registry is gone":     {settings.HTTP{URI: metadata, UserDataPath: "/registry", UseServerName: true, Retry: quickly}, "refused"},
		"no id":                {settings.HTTP{URI: metadata, UserDataPath: "/registry", Retry: quickly}, "InstanceIDPath or UseServerName"},
		"object in a registry": {settings.Registry{Endpoint: object, InstanceID: "i", Retry: quickly}, "must be a string that holds JSON"},
		"unknown in registry":  {settings.Registry{Endpoint: object, InstanceID: "n", Retry: quickly}, "not_found"},
		"no endpoint":          {settings.Registry{Endpoint: "http://:s3cret@", InstanceID: "n", Retry: quickly}, "invalid endpoint"},
		"metadata":             {settings.InstanceMetadata{URI: metadata, SettingsPath: "/nothing", Retry: quickly}, "does not provide"},
		"no drive":             {settings.ConfigDrive{DiskPaths: []string{"/dev/a", "/dev/b"}, UserDataPath: "x", Mounter: media}, "no device /dev/b"},
		"no drives":            {settings.ConfigDrive{UserDataPath: "x", Mounter: media}, "no DiskPaths"},
		"no file on the drive": {settings.ConfigDrive{DiskPaths: []string{"/dev/d"}, UserDataPath: "x", Mounter: media}, "no file x"},
		"drive without them":   {settings.ConfigDrive{DiskPaths: []string{"/dev/d"}, UserDataPath: "user-data", Mounter: media}, "does not provide"},
		"path that leads out":  {settings.ConfigDrive{DiskPaths: []string{"/dev/d"}, UserDataPath: "../../etc/passwd", Mounter: media}, "escapes"},
		"stuck drive":          {settings.ConfigDrive{DiskPaths: []string{"/dev/d"}, UserDataPath: "user-data", Mounter: stuck}, "busy"},
		"no disc":              {settings.CDROM{Device: disc + "x", Mounter: media, Run: noProgram, Delay: -1}, "no such file"},
		"bad disc":             {settings.CDROM{Device: disc, Mounter: media, Run: noProgram}, "no JSON object"},
		"wrong disc":           {settings.CDROM{Device: disc, FileName: "x", Mounter: media, Run: noProgram}, "no file x"},
		"no hypervisor":        {settings.VsphereGuestInfo{Run: noProgram}, "not installed"},
		"read before":          {settings.VsphereGuestInfo{Run: guestInfo(&wiped)}, "does not provide"},
	} {
		_, err := test.source.Settings(t.Context())
		require.ErrorContains(t, err, test.want, name)
		assert.NotContains(t, err.Error(), "s3cret", name)
	}
	assert.Zero(t, media.mounted.Load(), "still mounted")
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		var log bytes.Buffer
		retry := settings.Retry{Logger: slog.New(slog.NewTextHandler(&log, nil)), Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			asked++
			if asked < 10 {
				return nil, errors.New("no route to host")
			}
			return &http.Response{StatusCode: 200, Body: body(composed)}, nil
		})}}
		began := time.Now()
		_, err := settings.HTTP{URI: "http://169.254.169.254", UserDataPath: "/latest/user-data", Retry: retry}.Settings(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 10, asked)
		assert.Equal(t, 9*time.Second, time.Since(began))
		assert.Equal(t, 1, strings.Count(log.String(), "settings.waiting"), "once, not each time")
		assert.Contains(t, log.String(), "169.254.169.254")

		asked = -10
		_, err = settings.HTTP{URI: "http://169.254.169.254", Retry: retry}.Settings(t.Context())
		require.ErrorContains(t, err, "no route to host")
		assert.Equal(t, 0, asked, "ten times")

		asked = -100
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, err = settings.HTTP{URI: "http://169.254.169.254", Retry: retry}.Settings(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, -98, asked)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

type closer struct{ *strings.Reader }

func (closer) Close() error { return nil }

func body(text string) closer { return closer{strings.NewReader(text)} }

func TestAnswerWithoutEnd(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for line := strings.Repeat("x", 1<<16); ; {
			if _, err := w.Write([]byte(line)); err != nil {
				return
			}
		}
	})
	once := quickly
	once.Tries = 1
	_, err := settings.HTTP{URI: url, UserDataPath: "/", Retry: once}.Settings(t.Context())
	require.ErrorContains(t, err, "more than 4194304 bytes")
}

func TestPublicSSHKeys(t *testing.T) {
	injected := filepath.Join(t.TempDir(), "user_data.json")
	require.NoError(t, os.WriteFile(injected, []byte(`{"openssh":{"public_key":"ssh-rsa injected"}}`), 0o600))
	metadata := answers(t, map[string]string{"/key": "ssh-rsa k\n"})
	for name, test := range map[string]struct {
		source settings.HTTP
		want   string
	}{
		"key":         {settings.HTTP{URI: metadata, SSHKeysPath: "/key"}, "ssh-rsa k"},
		"none":        {settings.HTTP{URI: metadata, SSHKeysPath: "/none"}, ""},
		"not asked":   {settings.HTTP{URI: metadata}, ""},
		"injected":    {settings.HTTP{URI: metadata, SSHKeysPath: "/none", InjectedFile: injected}, "ssh-rsa injected"},
		"no injected": {settings.HTTP{URI: metadata, SSHKeysPath: "/none", InjectedFile: injected + "x"}, ""},
	} {
		test.source.Retry = quickly
		key, err := test.source.PublicSSHKey(t.Context())
		require.NoError(t, err, name)
		assert.Equal(t, test.want, key, name)
	}
	failing := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	_, err := settings.HTTP{URI: failing, SSHKeysPath: "/key", Retry: quickly}.PublicSSHKey(t.Context())
	require.ErrorContains(t, err, "500")
}

func TestInjectedUserData(t *testing.T) {
	injected := filepath.Join(t.TempDir(), "user_data.json")
	require.NoError(t, os.WriteFile(injected, []byte(composed), 0o600))
	metadata := answers(t, nil)
	s, err := settings.HTTP{URI: metadata, UserDataPath: "/x", InjectedFile: injected, Retry: quickly}.Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", s.VM.Name)
	_, err = settings.HTTP{URI: metadata, UserDataPath: "/x", InjectedFile: injected + "x", Retry: quickly}.Settings(t.Context())
	require.ErrorContains(t, err, "404")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestDiscThatComesLate(t *testing.T) {
	disc := filepath.Join(t.TempDir(), "sr0")
	media := &shelf{devices: map[string]map[string]string{disc: {"env": composed}}}
	var ran []string
	synctest.Test(t, func(t *testing.T) {
		go func() {
			time.Sleep(1200 * time.Millisecond)
			_ = os.WriteFile(disc, []byte("x"), 0o600)
		}()
		began := time.Now()
		_, err := settings.CDROM{Device: disc, Mounter: media, Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			ran = append(ran, name+" "+strings.Join(args, " "))
			return nil, nil
		}}.Settings(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1500*time.Millisecond, time.Since(began))
	})
	assert.Equal(t, []string{"udevadm settle", "eject -v " + disc}, ran)
}
