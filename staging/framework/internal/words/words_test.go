package words_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/deakit/deakit/staging/framework/internal/words"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"":                        nil,
		"  ":                      nil,
		"a  b\tc\n":               {"a", "b", "c"},
		"-e 'puts RUBY_VERSION'":  {"-e", "puts RUBY_VERSION"},
		`"a \"b\" \c $X" d\ e ''`: {`a "b" \c $X`, "d e", ""},
		`a'b'"c"`:                 {"abc"},
	} {
		got, err := words.Split(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"'a", `"a`, `a\`} {
		_, err := words.Split(text)
		require.ErrorIs(t, err, words.ErrQuote, text)
	}
}

func TestQuotedWordsSurvive(t *testing.T) {
	word := rapid.Custom(func(t *rapid.T) string {
		return strings.ReplaceAll(rapid.String().Draw(t, "word"), "\x00", "")
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(word, 1, 4).Draw(t, "words")
		got, err := words.Split(words.Join(all))
		require.NoError(t, err)
		require.Equal(t, all, got)
	})
}

func TestShellReadsWords(t *testing.T) {
	all := []string{"it's", "a b", "$HOME`id`", `"\`, "", "-x", "é"}
	out, err := exec.Command("/bin/sh", "-c", "printf '<%s>' "+words.Join(all)).Output()
	require.NoError(t, err)
	assert.Equal(t, "<"+strings.Join(all, "><")+">", string(out))
}
