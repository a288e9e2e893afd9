package digest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/digest"
)

// Of the text "abc", from FIPS 180.
const (
	abc1   = "a9993e364706816aba3e25717850c26c9cd0d89d"
	abc256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	abc512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
	wrong  = "0000000000000000000000000000000000000000"
)

func Example() {
	d, err := digest.Parse(abc1 + ";sha256:" + abc256)
	if err != nil {
		panic(err)
	}
	strongest, _ := d.Strongest()
	fmt.Println(strongest.Algorithm)
	fmt.Println(d.Verify(strings.NewReader("abc")))
	// Output:
	// sha256
	// <nil>
}

func TestStrongestPartDecides(t *testing.T) {
	for text, right := range map[string]bool{
		abc1:                              true,
		"sha1:" + abc1:                    true,
		"sha256:" + abc256:                true,
		"sha512:" + abc512:                true,
		abc1 + ";":                        true,
		";;" + abc1:                       true,
		wrong + ";sha256:" + abc256:       true,
		"sha512:" + abc512 + ";" + wrong:  true,
		"sha256:00;sha512:" + abc512:      true,
		abc1 + ";sha256:00":               false,
		"sha256:" + abc256 + ";sha512:00": false,
		"md5:00;" + abc1:                  true, // what is not known decides nothing beside something known
		wrong:                             false,
		strings.ToUpper(abc1):             false, // compared as text
	} {
		d, err := digest.Parse(text)
		require.NoError(t, err, text)
		err = d.Verify(strings.NewReader("abc"))
		if right {
			assert.NoError(t, err, text)
			continue
		}
		var mismatch *digest.MismatchError
		require.ErrorAs(t, err, &mismatch, text)
		assert.NotEqual(t, mismatch.Expected, mismatch.Actual)
	}

	d, err := digest.Parse(wrong)
	require.NoError(t, err)
	assert.EqualError(t, d.Verify(strings.NewReader("abc")), "Expected stream to have digest '"+wrong+"' but was '"+abc1+"'")
	d, err = digest.Parse("sha256:00")
	require.NoError(t, err)
	assert.EqualError(t, d.Verify(strings.NewReader("abc")), "Expected stream to have digest 'sha256:00' but was 'sha256:"+abc256+"'")
}

func TestUnknownAlgorithmFailsWhenVerifying(t *testing.T) {
	d, err := digest.Parse("md5:900150983cd24fb0d6963f7d28e17f72")
	require.NoError(t, err)
	assert.Equal(t, "md5:900150983cd24fb0d6963f7d28e17f72", d.String())
	var unknown *digest.UnknownError
	require.ErrorAs(t, d.Verify(strings.NewReader("abc")), &unknown)
	assert.ErrorIs(t, digest.Digest{}.Verify(strings.NewReader("abc")), digest.ErrNone)
}

func TestStringsThatAreNoDigests(t *testing.T) {
	for _, text := range []string{"", ";", ";;;"} {
		_, err := digest.Parse(text)
		assert.ErrorIs(t, err, digest.ErrNone, text)
	}
	for text, want := range map[string]string{
		abc1 + ";sha1:" + wrong:  "multiple digests of the same algorithm 'sha1'",
		"sha256:a;sha256:a":      "multiple digests of the same algorithm 'sha256'",
		"sha256:":                "alpha-numeric",
		":abc":                   "alpha-numeric",
		"sha-256:abc":            "alpha-numeric",
		"sha256:a:b":             "alpha-numeric",
		"../etc/passwd":          "alpha-numeric",
		"abc ":                   "alpha-numeric",
		strings.Repeat("a", 1e5): "at most",
	} {
		_, err := digest.Parse(text)
		assert.ErrorContains(t, err, want)
	}
}

func TestJSON(t *testing.T) {
	var got struct{ D digest.Digest }
	require.NoError(t, json.Unmarshal([]byte(`{"D":"sha1:`+abc1+`;sha512:`+abc512+`;"}`), &got))
	text, err := json.Marshal(got)
	require.NoError(t, err)
	assert.JSONEq(t, `{"D":"`+abc1+`;sha512:`+abc512+`"}`, string(text))

	require.ErrorIs(t, json.Unmarshal([]byte(`{"D":""}`), &got), digest.ErrNone)
	require.Error(t, json.Unmarshal([]byte(`{"D":7}`), &got))
	_, err = json.Marshal(digest.Digest{})
	require.ErrorIs(t, err, digest.ErrNone)
}

func TestOf(t *testing.T) {
	d, err := digest.Of(strings.NewReader("abc"))
	require.NoError(t, err)
	assert.Equal(t, abc1, d.String())
	d, err = digest.Of(strings.NewReader("abc"), digest.SHA1, digest.SHA512)
	require.NoError(t, err)
	assert.Equal(t, abc1+";sha512:"+abc512, d.String())

	broken := errors.New("broken")
	_, err = digest.Of(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, d.Verify(iotest.ErrReader(broken)), broken)
	assert.Panics(t, func() { digest.NewWriter("md5") })
}

func TestVerifyFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "blob")
	require.NoError(t, os.WriteFile(name, []byte("abc"), 0o600))
	d, err := digest.Parse("sha256:" + abc256)
	require.NoError(t, err)
	require.NoError(t, d.VerifyFile(name))
	require.NoError(t, os.WriteFile(name, []byte("abd"), 0o600))
	require.Error(t, d.VerifyFile(name))
	require.ErrorIs(t, d.VerifyFile(name+"x"), os.ErrNotExist)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestMemoryIsConstant: content of 64 MiB makes no more allocations than that of 1 MiB.
func TestMemoryIsConstant(t *testing.T) {
	d, err := digest.Parse(abc1)
	require.NoError(t, err)
	allocations := func(size int64) float64 {
		return testing.AllocsPerRun(1, func() { _ = d.Verify(io.LimitReader(zeros{}, size)) })
	}
	assert.LessOrEqual(t, allocations(64<<20), allocations(1<<20)+2)
}

func FuzzParse(f *testing.F) {
	f.Add(abc1)
	f.Add("sha256:" + abc256 + ";" + abc1)
	f.Add("md5:0;;")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := digest.Parse(text)
		if err != nil {
			require.True(t, d.IsZero())
			return
		}
		again, err := digest.Parse(d.String())
		require.NoError(t, err)
		require.Equal(t, d, again)
		require.Error(t, d.Verify(strings.NewReader("what has none of these digests "+text)))
	})
}
