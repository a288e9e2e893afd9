package spec_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/spec"
)

const sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d"

// modern is a spec as directors send it today, with members that nobody here knows at each level.
const modern = `{"deployment":"cf","name":"router","id":"6f1c","az":"z1","index":0,
 "job":{"name":"router","release":"cf","template":"gorouter","version":"77","sha1":"` + sha1 + `","blobstore_id":"b-1",
        "templates":[{"name":"gorouter","version":"77","sha1":"` + sha1 + `","blobstore_id":"b-1","logs":[]}],"odd":null},
 "packages":{"gorouter":{"name":"gorouter","version":"9.1","sha1":"` + sha1 + `","blobstore_id":"p-1","signed_url":"https://x/y?z=1&w=2",
        "blobstore_headers":{"h":"v"},"more":[1,2.50,12345678901234567890]}},
 "networks":{"default":{"type":"manual","ip":"10.0.0.21","netmask":"255.255.255.0","gateway":"10.0.0.1","cloud_properties":{"name":"<VM>"},"dns":null}},
 "persistent_disk":1024,"configuration_hash":"5d1f","properties":{"logging":{"max_log_file_size":"10M"},"secret":1.0},
 "resource_pool":{"size":3},"rendered_templates_archive":{"blobstore_id":"r-1","sha1":"` + sha1 + `","odd":true},
 "template_hashes":{"gorouter":"e1"},"dns_domain_name":"bosh","env":{}}`

func Example() {
	var s spec.Spec
	if err := json.Unmarshal([]byte(`{"job":"","index":"","persistent_disk":{},"networks":{"a":{"x":1}}}`), &s); err != nil {
		panic(err)
	}
	data, err := json.Marshal(s.Networks)
	fmt.Println(string(data), s.Job.IsZero(), s.Index == nil, err)
	// Output: {"a":{"x":1}} true true <nil>
}

func decode(t *testing.T, text string) (s spec.Spec) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	return s
}

func encode(t *testing.T, s spec.Spec) string {
	t.Helper()
	data, err := json.Marshal(s)
	require.NoError(t, err)
	return string(data)
}

func TestWhatCameGoesBack(t *testing.T) {
	s := decode(t, modern)
	assert.JSONEq(t, modern, encode(t, s))
	assert.Contains(t, encode(t, s), "12345678901234567890", "numbers keep their digits")
	assert.Contains(t, encode(t, s), "2.50")
	assert.Equal(t, "gorouter", s.Templates()[0].Name)
	assert.Equal(t, 0, *s.Index)
	assert.Equal(t, 1024, s.PersistentDisk)
	assert.Equal(t, "10M", s.MaxLogFileSize())
	require.NoError(t, s.Validate())

	p := s.Packages["gorouter"]
	source, err := p.Source()
	require.NoError(t, err)
	assert.Equal(t, spec.Source{BlobID: "p-1", Digest: parse(t, sha1), URL: "https://x/y?z=1&w=2", Headers: map[string]string{"h": "v"}}, source)
}

func parse(t *testing.T, s string) digest.Digest {
	t.Helper()
	d, err := digest.Parse(s)
	require.NoError(t, err)
	return d
}

// TestZeroSpec has the value that the Go agent answers before anything was applied.
func TestZeroSpec(t *testing.T) {
	const zero = `{"properties":{"logging":{"max_log_file_size":""}},` +
		`"job":{"name":null,"release":"","template":"","version":"","templates":null},` +
		`"packages":{},"configuration_hash":"","networks":{},"resource_pool":{},"deployment":"","name":"","index":null,"id":"","az":"",` +
		`"persistent_disk":0,"rendered_templates_archive":null}`
	assert.Equal(t, zero, encode(t, spec.Spec{}))
	for _, loose := range []string{
		`{}`, `null`, zero,
		// The state that stemcells with the Ruby agent began with.
		`{"deployment":"","job":"","index":"","networks":{},"resource_pool":{},"packages":{},"persistent_disk":{},"configuration_hash":{},"properties":null}`,
		`{"job":{},"index":null,"networks":null,"packages":null,"resource_pool":null,"persistent_disk":null,"configuration_hash":null}`,
	} {
		s := decode(t, loose)
		assert.Equal(t, zero, encode(t, s), loose)
		assert.Empty(t, s.Templates())
	}
}

func TestOldForm(t *testing.T) {
	const old = `{"deployment":"d","release":{"name":"r","version":7},"job":{"name":"web","template":"nginx","version":12,"sha1":"` + sha1 + `","blobstore_id":"b"},
		"index":3,"resource_pool":{"name":"small"},"packages":{},"networks":{},"properties":{"a":{"b":1}},"configuration_hash":"x"}`
	s := decode(t, old)
	assert.Equal(t, []spec.Template{{Name: "nginx", Version: "12", SHA1: sha1, BlobID: "b"}}, s.Templates())
	var needs *spec.NeedsRenderingError
	require.ErrorAs(t, s.Validate(), &needs)
	assert.ErrorContains(t, needs, "ERB")
	assert.Contains(t, encode(t, s), `"properties":{"a":{"b":1}}`)
	assert.Contains(t, encode(t, s), `"release":{"name":"r","version":7}`)
	assert.Empty(t, decode(t, `{"job":{"template":"nginx","templates":[]}}`).Templates(), "a list without any is a list")
}

func TestWrongTypesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                                  "spec: object expected, array given",
		`"x"`:                                 "spec: object expected, string given",
		`{"job":7}`:                           "job: object expected, number given",
		`{"job":{"templates":{}}}`:            "job.templates: array expected, object given",
		`{"job":{"templates":[7]}}`:           "job.templates[0]: object expected, number given",
		`{"job":{"templates":[{"name":[]}]}}`: "job.templates[0].name: string expected, array given",
		`{"index":"one"}`:                     "index: integer expected, string given",
		`{"index":1.5}`:                       "index: integer expected, number given",
		`{"networks":[]}`:                     "networks: object expected, array given",
		`{"networks":{"a":"secret"}}`:         "networks.a: object expected, string given",
		`{"packages":{"p":{"sha1":true}}}`:    "packages.p.sha1: string expected, boolean given",
		`{"packages":{"p":{"blobstore_headers":{"h":1}}}}`: "packages.p.blobstore_headers: object of strings expected, object given",
		`{"deployment":{}}`:                 "deployment: string expected, object given",
		`{"persistent_disk":"many"}`:        "persistent_disk: integer expected, string given",
		`{"rendered_templates_archive":""}`: "rendered_templates_archive: object expected, string given",
	} {
		var s spec.Spec
		err := json.Unmarshal([]byte(text), &s)
		require.ErrorIs(t, err, spec.ErrInvalid, text)
		assert.Equal(t, "invalid spec: "+want, err.Error())
		assert.Equal(t, spec.Spec{}, s)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*spec.Spec){
		"job name":             func(s *spec.Spec) { s.Job.Templates[0].Name = "../x" },
		"empty job name":       func(s *spec.Spec) { s.Job.Templates[0].Name = "" },
		"empty version":        func(s *spec.Spec) { s.Job.Templates[0].Version = "" },
		"version":              func(s *spec.Spec) { s.Job.Templates[0].Version = "1/../../2" },
		"two of a name":        func(s *spec.Spec) { s.Job.Templates = append(s.Job.Templates, s.Job.Templates[0]) },
		"archive without blob": func(s *spec.Spec) { s.RenderedTemplates.BlobID = "" },
		"archive without sha1": func(s *spec.Spec) { s.RenderedTemplates.SHA1 = "" },
		"package name": func(s *spec.Spec) {
			s.Packages = map[string]spec.Package{"a/b": {Name: "a/b", Version: "1", SHA1: sha1, BlobID: "b"}}
		},
		"other package name": func(s *spec.Spec) {
			s.Packages = map[string]spec.Package{"a": {Name: "b", Version: "1", SHA1: sha1, BlobID: "b"}}
		},
		"package without sha1": func(s *spec.Spec) { s.Packages = map[string]spec.Package{"a": {Name: "a", Version: "1", BlobID: "b"}} },
		"package without blob": func(s *spec.Spec) { s.Packages = map[string]spec.Package{"a": {Name: "a", Version: "1", SHA1: sha1}} },
		"lines in a log size": func(s *spec.Spec) {
			s.Properties = json.RawMessage(`{"logging":{"max_log_file_size":"1M\npostrotate"}}`)
		},
		"hidden package name": func(s *spec.Spec) {
			s.Packages = map[string]spec.Package{".a": {Name: ".a", Version: "1", SHA1: sha1, BlobID: "b"}}
		},
		"version of no package": func(s *spec.Spec) { s.Packages = map[string]spec.Package{"a": {Name: "a", SHA1: sha1, BlobID: "b"}} },
	} {
		s := decode(t, modern)
		change(&s)
		assert.ErrorIs(t, s.Validate(), spec.ErrInvalid, name)
		_, err := json.Marshal(s)
		assert.NoError(t, err, "what cannot be installed can be kept")
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "ruby-3.2_r1+x~y@z": true, "-a": true, strings.Repeat("n", 200): true,
		"": false, ".": false, "..": false, ".hidden": false, "a/b": false, `a\b`: false, "a b": false, "a\x00": false, "a\n": false,
		"é": false, strings.Repeat("n", 201): false,
	} {
		assert.Equal(t, good, spec.CheckName("package", name) == nil, "%q", name)
	}
	for version, good := range map[string]bool{
		"1.1": true, "12/a-sha": true, "0+dev.1": true, "1..2": true,
		"": false, "../1": false, "1/..": false, "/1": false, "1 2": false, "1\n": false,
	} {
		assert.Equal(t, good, spec.CheckVersion("x", version) == nil, "%q", version)
	}
}

func TestAddresses(t *testing.T) {
	s := decode(t, `{"networks":{"dyn":{"type":"dynamic","x":{"y":[1]}},"man":{"ip":"1.1.1.1"},"local":{"ip":"127.0.0.1"},"empty":null}}`)
	known := map[string]spec.Address{
		"dyn": {DHCP: true, IP: "10.0.0.5", Netmask: "255.0.0.0", Gateway: "10.0.0.1"},
		"man": {IP: "9.9.9.9"}, "empty": {DHCP: true, IP: "10.0.0.6"},
	}
	filled, err := s.WithAddresses(known)
	require.NoError(t, err)
	got, err := json.Marshal(filled.Networks)
	require.NoError(t, err)
	assert.JSONEq(t, `{"dyn":{"type":"dynamic","x":{"y":[1]},"ip":"10.0.0.5","netmask":"255.0.0.0","gateway":"10.0.0.1"},
		"man":{"ip":"1.1.1.1"},"local":{"ip":"127.0.0.1"},"empty":{"ip":"10.0.0.6"}}`, string(got))
	assert.Len(t, s.Networks["dyn"], 2, "the spec that was given is as it was")

	for _, networks := range []string{`{"other":{}}`, `{"local":{"ip":"127.0.0.2"}}`, `{"local":null}`} {
		_, err = decode(t, `{"networks":`+networks+`}`).WithAddresses(known)
		require.ErrorIs(t, err, spec.ErrInvalid)
		assert.ErrorContains(t, err, "is not found in settings")
	}
	none, err := spec.Spec{}.WithAddresses(nil)
	require.NoError(t, err)
	assert.Nil(t, none.Networks)
}

func TestStore(t *testing.T) {
	base := t.TempDir()
	store := spec.NewStore(base)
	s, err := store.Load()
	require.NoError(t, err)
	assert.Equal(t, spec.Spec{}, s)

	want := decode(t, modern)
	require.NoError(t, store.Save(want))
	got, err := spec.NewStore(base).Load()
	require.NoError(t, err)
	assert.JSONEq(t, modern, encode(t, got))
	for name, text := range map[string]string{"id": "6f1c", "az": "z1", "name": "router", "deployment": "cf"} {
		data, err := os.ReadFile(filepath.Join(base, "instance", name))
		require.NoError(t, err)
		assert.Equal(t, text, string(data))
		info, err := os.Stat(filepath.Join(base, "instance", name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode())
	}
	info, err := os.Stat(filepath.Join(base, "bosh/spec.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())

	for _, damaged := range []string{"{", `{"job":7}`} {
		require.NoError(t, os.WriteFile(filepath.Join(base, "bosh/spec.json"), []byte(damaged), 0o600))
		_, err = store.Load()
		require.Error(t, err, damaged)
		assert.ErrorContains(t, err, "spec.json")
	}
	require.NoError(t, os.WriteFile(filepath.Join(base, "bosh/spec.json"), nil, 0o600))
	s, err = store.Load()
	require.NoError(t, err, "an empty file is what a full disk leaves of others")
	assert.Equal(t, spec.Spec{}, s)

	_, err = spec.NewStore(filepath.Join(base, "gone")).Load()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, spec.NewStore(filepath.Join(base, "gone")).Save(want), os.ErrNotExist)
}

// What is remembered of the file is never older than the file, whoever writes it.
func TestStoreRemembers(t *testing.T) {
	base := t.TempDir()
	store := spec.NewStore(base)
	deployment := func() string {
		t.Helper()
		s, err := store.Load()
		require.NoError(t, err)
		return s.Deployment
	}
	assert.Empty(t, deployment())
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, store.Save(spec.Spec{Deployment: name}))
		assert.Equal(t, name, deployment())
		assert.Equal(t, name, deployment())
	}
	require.NoError(t, spec.NewStore(base).Save(spec.Spec{Deployment: "other"}))
	assert.Equal(t, "other", deployment())
	file := filepath.Join(base, "bosh/spec.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"deployment":"edited by hand"}`), 0o600))
	assert.Equal(t, "edited by hand", deployment())
	require.NoError(t, os.Remove(file))
	assert.Empty(t, deployment())
}

// FuzzSpec looks for what breaks the decoder, and for what is not the same after it was kept and read again.
func FuzzSpec(f *testing.F) {
	for _, text := range []string{modern, `{}`, `null`, `{"job":"","index":"","persistent_disk":{}}`, `{"job":{"templates":[null]}}`,
		`{"networks":{"a":null}}`, `{"job":{"version":1e3,"release":""}}`, `{"packages":{"":{"name":"\ud800"}}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, again spec.Spec
		if json.Unmarshal(data, &s) != nil {
			return
		}
		_ = s.Validate()
		_, _ = s.WithAddresses(map[string]spec.Address{"a": {DHCP: true, IP: "1.2.3.4"}})
		first, err := json.Marshal(s)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(first, &again))
		second, err := json.Marshal(again)
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(second))
	})
}
