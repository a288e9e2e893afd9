package directory

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

func newPair(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return public, private
}

func privateSigner(t testing.TB, cfg SignerConfig) *Signer {
	t.Helper()
	cfg.Now = at(signedAt)
	s, err := NewSigner(cfg)
	require.NoError(t, err)
	return s
}

func publicVerifier(t testing.TB, now int64, keys ...ed25519.PublicKey) *PublicVerifier {
	t.Helper()
	v, err := NewVerifier(VerifierConfig{PublicKeys: keys, Now: at(now)})
	require.NoError(t, err)
	return v
}

// verify asks a verifier whether a URL is good.
func verify(v Verifier, url string) (string, error) {
	urlPath, query, _ := strings.Cut(url, "?")
	return v.Verify(urlPath, query)
}

// The signature is one of "<URL path>?<canonical query>", in the place and form of an HMAC.
func TestEd25519Form(t *testing.T) {
	public, private := newPair(t)
	url := privateSigner(t, SignerConfig{PrivateKey: private}).SignedPath("/instance_paths/2a5e8c1f", text("/logs/a b~c*"))
	assert.Regexp(t, `^/instance_paths/2a5e8c1f\?hmac=[0-9a-f]{128}&path=%2Flogs%2Fa\+b%7Ec\*&timestamp=1385000000$`, url)
	signature, err := hex.DecodeString(url[len("/instance_paths/2a5e8c1f?hmac="):][:128])
	require.NoError(t, err)
	message := "/instance_paths/2a5e8c1f?path=%2Flogs%2Fa+b%7Ec*&timestamp=1385000000"
	assert.True(t, ed25519.Verify(public, []byte(message), signature))
}

func TestEd25519(t *testing.T) {
	public, private := newPair(t)
	other, _ := newPair(t)
	s := privateSigner(t, SignerConfig{PrivateKey: private})
	v := publicVerifier(t, signedAt, public)
	for _, path := range []*string{nil, text(""), text("/logs/a b~c*é")} {
		url := s.SignedPath("/instance_paths/i", path)
		for _, form := range []string{url, url + "&tail&tail_offset=5", strings.Replace(url, "&path&", "&path=&", 1),
			strings.ReplaceAll(url, "%2F", "/")} {
			for _, by := range []Verifier{v, s, publicVerifier(t, signedAt, other, public)} {
				got, err := verify(by, form)
				require.NoError(t, err, form)
				if path != nil {
					assert.Equal(t, *path, got)
				}
			}
		}
	}
	url := s.SignedPath("/instance_paths/i", text("/a"))
	_, err := verify(publicVerifier(t, signedAt, other), url)
	assert.ErrorIs(t, err, ErrInvalidHMAC, "another key")
	_, err = verify(v, strings.Replace(url, "%2Fa", "%2Fb", 1))
	assert.ErrorIs(t, err, ErrInvalidHMAC, "another path")
	_, err = verify(v, strings.Replace(url, "hmac=", "hmac=g", 1)[:len(url)])
	assert.Error(t, err, "no hex digit")
	_, err = verify(v, signerAt(t, signedAt, string(public)).SignedPath("/instance_paths/i", text("/a")))
	assert.ErrorIs(t, err, ErrInvalidHMAC, "the public key is no secret to sign with")
	_, err = verify(publicVerifier(t, signedAt+3601, public), url)
	assert.ErrorIs(t, err, ErrExpired)
}

// From a secret text to a private key, and from that to the next, without a URL that fails meanwhile.
func TestEd25519Rotation(t *testing.T) {
	public, private := newPair(t)
	nextPublic, nextPrivate := newPair(t)
	before := signerAt(t, signedAt, "secret")
	during := privateSigner(t, SignerConfig{PrivateKey: private, Keys: []string{"secret"}})
	after := privateSigner(t, SignerConfig{PrivateKey: nextPrivate, PublicKeys: []ed25519.PublicKey{public}})
	good := func(v Verifier, by *Signer) bool {
		_, err := verify(v, by.SignedPath("/instance_paths/i", text("/a")))
		return err == nil
	}
	assert.True(t, good(during, before))
	assert.True(t, good(publicVerifier(t, signedAt, public), during), "the private key signs")
	assert.True(t, good(after, during))
	assert.True(t, good(publicVerifier(t, signedAt, nextPublic), after))
	assert.False(t, good(after, before))
	assert.False(t, good(privateSigner(t, SignerConfig{PrivateKey: nextPrivate}), during))
}

func TestEd25519Config(t *testing.T) {
	public, private := newPair(t)
	torn := append(append(ed25519.PrivateKey{}, private[:32]...), make([]byte, 32)...)
	for _, key := range []ed25519.PrivateKey{{}, private[:40], torn} {
		_, err := NewSigner(SignerConfig{PrivateKey: key})
		assert.ErrorContains(t, err, "PrivateKey")
	}
	for _, cfg := range []VerifierConfig{{}, {PublicKeys: []ed25519.PublicKey{public[:5]}},
		{PublicKeys: []ed25519.PublicKey{public}, MaxAge: -1}} {
		_, err := NewVerifier(cfg)
		assert.ErrorContains(t, err, "directory verifier: ")
	}
	_, err := NewSigner(SignerConfig{PublicKeys: []ed25519.PublicKey{nil}})
	assert.Error(t, err)
}

// A server that knows public keys only serves what the holder of the private key has signed.
func TestEd25519Server(t *testing.T) {
	public, private := newPair(t)
	f := newFixture(t, Config{})
	f.write("log", "a")
	server, err := NewServer(Config{Resolver: NewLocal(publicVerifier(t, signedAt, public), f.registry)})
	require.NoError(t, err)
	base, client := serve(t, server)
	resp, body := do(t, client, "GET", privateSigner(t, SignerConfig{PrivateKey: private}).InstanceURL(base, "app", text("log")))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "a", body)
	resp, _ = do(t, client, "GET", f.signer.InstanceURL(base, "app", text("log")))
	assert.Equal(t, 401, resp.StatusCode)
}

func TestParseKeys(t *testing.T) {
	needs.Tool(t, "openssl", "openssl")
	dir := t.TempDir()
	openssl := func(args ...string) []byte {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	secret := openssl("genpkey", "-algorithm", "ed25519")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), secret, 0o600))
	published := openssl("pkey", "-in", "key.pem", "-pubout")
	private, err := ParsePrivateKey(secret)
	require.NoError(t, err)
	public, err := ParsePublicKeys(append(append([]byte("# two\n"), published...), published...))
	require.NoError(t, err)
	assert.Equal(t, []ed25519.PublicKey{private.Public().(ed25519.PublicKey), private.Public().(ed25519.PublicKey)}, public)
	_, err = verify(publicVerifier(t, signedAt, public...), privateSigner(t, SignerConfig{PrivateKey: private}).SignedPath("/x", nil))
	assert.NoError(t, err)

	_, err = ParsePrivateKey(published)
	assert.Error(t, err)
	_, err = ParsePublicKeys(append(published, secret...))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), strings.Split(string(secret), "\n")[1])
}

func TestParseKeysRefuses(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(other)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(other.Public())
	require.NoError(t, err)
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, bad := range [][]byte{nil, []byte("nonsense"), encode("PRIVATE KEY", private), encode("PUBLIC KEY", public),
		encode("PRIVATE KEY", []byte("x")), encode("PUBLIC KEY", []byte("x"))} {
		_, err := ParsePrivateKey(bad)
		assert.Error(t, err)
		_, err = ParsePublicKeys(bad)
		assert.Error(t, err)
	}
}
