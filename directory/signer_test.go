package directory

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func at(seconds int64) func() time.Time { return func() time.Time { return time.Unix(seconds, 0) } }

func text(s string) *string { return &s }

func signerAt(t testing.TB, seconds int64, keys ...string) *Signer {
	t.Helper()
	s, err := NewSigner(SignerConfig{Keys: keys, Now: at(seconds)})
	require.NoError(t, err)
	return s
}

const signedAt = 1385000000

func TestSignerVectors(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	for _, v := range []struct {
		urlPath string
		path    *string
		query   string
		mac     string
	}{
		{"/instance_paths/2a5e8c1f", text("/logs/stdout.log"), "path=%2Flogs%2Fstdout.log&timestamp=1385000000",
			"238a0c00f8199bb5bd895859e01d289628f20fe9c8b7b678ca91848b8c629c8c77264318769c740bbd49b8b39c95e3be8140fbb1bbb014552a7e1b090d53d006"},
		{"/staging_tasks/7d9f/file_path", text("/tmp/staged/logs/staging_task.log"),
			"path=%2Ftmp%2Fstaged%2Flogs%2Fstaging_task.log&timestamp=1385000000",
			"78c16605f00c1b15e30025a9f7cbd4c0785a58aa37f8592cf602b33d8057f7906f2d9618174dbc2fc2a4068bebfe5df967d8af65c1ea5040b9b71044dcb7f5cd"},
		{"/instance_paths/2a5e8c1f", text("/app/config/a b~c*d+é.rb"),
			"path=%2Fapp%2Fconfig%2Fa+b%7Ec*d%2B%C3%A9.rb&timestamp=1385000000",
			"c62ac45e053f4ab7403b65b41b68ca01c44a2904a0fcc736947654c93102bbb864db4754b075f62247706e45f4096d2a41c4b33688c2653d374f10aea82f97b5"},
		{"/instance_paths/2a5e8c1f", text(""), "path=&timestamp=1385000000",
			"3d94c3bf794bb8b1ade7a05cabe67cfc559c49e1de7f5ef14d0a3e2ea17d98665e70bee7dbf611e0202acdf304de6a116ca13b0f0c6eb15d105c1caecbd96c21"},
		{"/instance_paths/2a5e8c1f", nil, "path&timestamp=1385000000",
			"78c117f214a8134dd7dcde3f1a5e116aef81b722929b4c2d891e08a6c474bc66330009f513d55c67b847fd9799cd055aafdfeaa9e46f41c00e0c8be8b4189648"},
	} {
		want := v.urlPath + "?hmac=" + v.mac + "&" + v.query
		assert.Equal(t, want, s.SignedPath(v.urlPath, v.path))

		path, err := s.Verify(v.urlPath, "hmac="+v.mac+"&"+v.query)
		require.NoError(t, err, v.query)
		if v.path != nil {
			assert.Equal(t, *v.path, path)
		} else {
			assert.Empty(t, path)
		}
	}
}

func TestSignerURLs(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	base := BaseURL("https", NewToken(), "example.com")

	instance := s.InstanceURL(base, "2a5e8c1f", text("/logs/stdout.log"))
	assert.Regexp(t, `^https://[0-9a-f]{32}\.example\.com/instance_paths/2a5e8c1f\?hmac=[0-9a-f]{128}&path=%2Flogs%2Fstdout\.log&timestamp=1385000000$`, instance)

	staging := s.StagingURL("http://127.0.0.1:8080/", "7d9f", text("/tmp/x"))
	assert.Regexp(t, `^http://127\.0\.0\.1:8080/staging_tasks/7d9f/file_path\?hmac=[0-9a-f]{128}&path=%2Ftmp%2Fx&timestamp=1385000000$`, staging)
}

// Each form is the same request in the hands of another client or router.
func TestVerifyForms(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	for _, path := range []string{"/logs/a b~c*d+é.log", "", "plain"} {
		_, query, _ := strings.Cut(s.SignedPath("/instance_paths/i", &path), "?")
		mac, rest, _ := strings.Cut(query, "&")
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		for name, form := range map[string]string{
			"as signed":           query,
			"more parameters":     query + "&tail=&tail_offset=5&x",
			"parameters in front": "tail&" + query,
			"reordered":           rest + "&" + mac,
			"semicolons":          strings.ReplaceAll(query, "&", ";"),
			"plain slashes":       strings.ReplaceAll(query, "%2F", "/"),
			"blank as %20":        strings.ReplaceAll(query, "+", "%20"),
			"lower-case escapes":  strings.NewReplacer("%2F", "%2f", "%C3%A9", "%c3%a9").Replace(query),
			"re-encoded by Go":    values.Encode(),
			"empty pairs":         "&&" + query + "&",
		} {
			got, err := s.Verify("/instance_paths/i", form)
			require.NoError(t, err, "%s: %s", name, form)
			assert.Equal(t, path, got, name)
		}
	}
}

// A signer written in Go with the standard escaping signs a different text.
func TestVerifyAcceptsStandardEscaping(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	query := url.Values{"path": {"/a~b*c"}, "timestamp": {"1385000000"}}.Encode()
	mac := newKey(testKey).sign([]byte("/instance_paths/i?" + query))
	path, err := s.Verify("/instance_paths/i", query+"&hmac="+string(mac[:]))
	require.NoError(t, err)
	assert.Equal(t, "/a~b*c", path)
}

// The Cloud Controller turns a bare "path" into "path=".
func TestVerifyNullPath(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	signed := s.SignedPath("/instance_paths/i", nil)
	assert.Contains(t, signed, "&path&")
	for _, form := range []string{signed, strings.Replace(signed, "&path&", "&path=&", 1) + "&tail="} {
		_, query, _ := strings.Cut(form, "?")
		path, err := s.Verify("/instance_paths/i", query)
		require.NoError(t, err)
		assert.Empty(t, path)
	}
}

func TestVerifyRefuses(t *testing.T) {
	s := signerAt(t, signedAt, testKey)
	_, good, _ := strings.Cut(s.SignedPath("/instance_paths/i", text("/a")), "?")
	mac, rest, _ := strings.Cut(good, "&")
	for _, c := range []struct {
		name, urlPath, query, want string
	}{
		{"another path", "/instance_paths/i", strings.Replace(good, "%2Fa", "%2Fb", 1), "Invalid HMAC"},
		{"another id", "/instance_paths/j", good, "Invalid HMAC"},
		{"another time", "/instance_paths/i", strings.Replace(good, "1385000000", "1385000001", 1), "Invalid HMAC"},
		{"path twice", "/instance_paths/i", good + "&path=%2Fa", "Invalid HMAC"},
		{"another path first", "/instance_paths/i", "path=%2Fetc&" + good, "Invalid HMAC"},
		{"hmac twice", "/instance_paths/i", good + "&" + mac, "Invalid HMAC"},
		{"hmac empty", "/instance_paths/i", "hmac=&" + rest, "Invalid HMAC"},
		{"hmac null", "/instance_paths/i", "hmac&" + rest, "Invalid HMAC"},
		{"hmac short", "/instance_paths/i", good[:len("hmac=")+10] + "&" + rest, "Invalid HMAC"},
		{"hmac in capitals", "/instance_paths/i", "hmac=" + strings.ToUpper(mac[5:]) + "&" + rest, "Invalid HMAC"},
		{"hmac missing", "/instance_paths/i", rest, "hmac is missing"},
		{"path missing", "/instance_paths/i", mac + "&timestamp=1385000000", "path is missing"},
		{"timestamp missing", "/instance_paths/i", mac + "&path=%2Fa", "timestamp is missing"},
		{"timestamp no number", "/instance_paths/i", mac + "&path=%2Fa&timestamp=now", "timestamp is invalid"},
		{"timestamp twice", "/instance_paths/i", good + "&timestamp=1385000000", "timestamp is invalid"},
		{"timestamp null", "/instance_paths/i", mac + "&path=%2Fa&timestamp", "timestamp is invalid"},
		{"nothing", "/instance_paths/i", "", "hmac is missing, timestamp is missing, path is missing"},
	} {
		_, err := s.Verify(c.urlPath, c.query)
		var refusal *Error
		require.ErrorAs(t, err, &refusal, c.name)
		assert.Equal(t, c.want, refusal.Error(), c.name)
		wantStatus := 400
		if c.want == "Invalid HMAC" {
			wantStatus = 401
			assert.ErrorIs(t, err, ErrInvalidHMAC, c.name)
		}
		assert.Equal(t, wantStatus, refusal.Status(), c.name)
	}
}

func TestVerifyAge(t *testing.T) {
	_, query, _ := strings.Cut(signerAt(t, signedAt, testKey).SignedPath("/instance_paths/i", text("/a")), "?")
	for _, c := range []struct {
		now  int64
		want error
	}{
		{signedAt, nil}, {signedAt + 3600, nil}, {signedAt + 3601, ErrExpired}, {signedAt - 100000, nil},
	} {
		_, err := signerAt(t, c.now, testKey).Verify("/instance_paths/i", query)
		assert.ErrorIs(t, err, c.want, "at %d", c.now)
	}
	_, err := signerAt(t, signedAt+3601, testKey).Verify("/instance_paths/i", strings.Replace(query, "%2Fa", "%2Fb", 1))
	assert.ErrorIs(t, err, ErrInvalidHMAC, "a bad signature comes before age")

	short, err := NewSigner(SignerConfig{Keys: []string{testKey}, MaxAge: time.Minute, Now: at(signedAt + 61)})
	require.NoError(t, err)
	_, err = short.Verify("/instance_paths/i", query)
	assert.ErrorIs(t, err, ErrExpired)
}

func TestVerifyAgeOfAncientTimestamp(t *testing.T) {
	s := signerAt(t, -1<<63, testKey)
	_, query, _ := strings.Cut(s.SignedPath("/instance_paths/i", text("/a")), "?")
	_, err := signerAt(t, signedAt, testKey).Verify("/instance_paths/i", query)
	assert.ErrorIs(t, err, ErrExpired)
}

func TestSignerKeys(t *testing.T) {
	before := signerAt(t, signedAt, "old")
	during := signerAt(t, signedAt, "new", "old")
	after := signerAt(t, signedAt, "new")
	verify := func(s, by *Signer) error {
		_, query, _ := strings.Cut(by.SignedPath("/instance_paths/i", text("/a")), "?")
		_, err := s.Verify("/instance_paths/i", query)
		return err
	}
	assert.NoError(t, verify(during, before))
	assert.NoError(t, verify(after, during))
	assert.ErrorIs(t, verify(after, before), ErrInvalidHMAC)

	one, two := signerAt(t, signedAt), signerAt(t, signedAt)
	assert.NoError(t, verify(one, one), "a random key")
	assert.ErrorIs(t, verify(one, two), ErrInvalidHMAC, "another one each time")

	_, err := NewSigner(SignerConfig{Keys: []string{"a", ""}})
	assert.Error(t, err)
	_, err = NewSigner(SignerConfig{MaxAge: -1})
	assert.Error(t, err)
	assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{32}$`), NewToken())
}

// Whatever passes was signed: the MAC of the canonical query in one of its forms is the one in the query.
func FuzzVerify(f *testing.F) {
	s := signerAt(f, signedAt, testKey)
	for _, path := range []*string{nil, text(""), text("/a b~*%é"), text("/logs/stdout.log")} {
		_, query, _ := strings.Cut(s.SignedPath("/instance_paths/i", path), "?")
		f.Add(query)
		f.Add(query + "&tail&tail_offset=%")
	}
	f.Fuzz(func(t *testing.T, query string) {
		path, err := s.Verify("/instance_paths/i", query)
		_ = parseWishes(query)
		if err != nil {
			var refusal *Error
			require.ErrorAs(t, err, &refusal)
			return
		}
		var mac, timestamp string
		for p := range params(query) {
			switch p.name {
			case "hmac":
				mac = p.value()
			case "timestamp":
				timestamp = p.value()
			}
		}
		escaped := strings.NewReplacer("~", "%7E", "%2A", "*").Replace(url.QueryEscape(path))
		var signed []string
		for _, form := range []string{"path=" + escaped, "path=" + url.QueryEscape(path), "path"} {
			sum := newKey(testKey).sign([]byte("/instance_paths/i?" + form + "&timestamp=" + url.QueryEscape(timestamp)))
			signed = append(signed, string(sum[:]))
		}
		assert.Contains(t, signed, mac)
	})
}
