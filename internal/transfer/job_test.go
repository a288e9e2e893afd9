package transfer

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseJob(t *testing.T) {
	for text, want := range map[string]job{
		`{"metadata":{"guid":"0","url":"http://x/"},"entity":{"guid":"0","status":"finished"}}`: {"http://x/", "finished"},
		`{"metadata":{"URL":"http://x/"},"Entity":{"status":"finished"}}`:                       {},
		`{"metadata":"x","entity":[1]}`:                                                         {},
		`{"metadata":{"url":7},"entity":{"status":{"a":"b"}}}`:                                  {},
		`{"metadata":null,"entity":{"status":null,"status":"late"}}`:                            {"", "late"},
	} {
		got, err := parseJob([]byte(text))
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "[]", `"url"`, "{", "<html>"} {
		_, err := parseJob([]byte(text))
		assert.Error(t, err, text)
	}
}

func FuzzParseJob(f *testing.F) {
	f.Add([]byte(`{"metadata":{"url":"http://staging:secret@cc.example.com/staging/jobs/c5f1"},"entity":{"status":"queued"}}`))
	f.Add([]byte(`{"metadata":null,"entity":{"status":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseJob(data)
		if err != nil {
			require.Zero(t, got)
			return
		}
		require.True(t, utf8.ValidString(printable(got.url)))
		require.LessOrEqual(t, len(printable(got.url)), 200)
		require.NotContains(t, printable(got.url), "@")
		if u, err := parse(Redact(got.url)); err == nil {
			require.Nil(t, u.User)
			require.Empty(t, u.Fragment)
		}
	})
}
