package applog

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// split feeds text in pieces of a size.
func split(max, size int, text string) (lines []string) {
	s := splitter{max: max}
	emit := func(line []byte) { lines = append(lines, string(line)) }
	for len(text) > 0 {
		n := min(size, len(text))
		s.feed([]byte(text[:n]), emit)
		text = text[n:]
	}
	s.flush(emit)
	return lines
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"":                         nil,
		"a":                        {"a"},
		"a\n":                      {"a"},
		"a\nb":                     {"a", "b"},
		"\n\na\r\n\r\nb\r":         {"", "", "a", "", "b"},
		"12345678\n":               {"12345678"},
		"12345678\r\n9":            {"12345678", "9"},
		"123456789\n":              {"12345678", "9"},
		"1234567äöü":               {"1234567", "äöü"},
		strings.Repeat("\xbf", 10): {strings.Repeat("\xbf", 8), "\xbf\xbf"},
	} {
		for size := 1; size < 12; size++ {
			assert.Equal(t, want, split(8, size, text), "%q in pieces of %d", text, size)
		}
	}
}

// Whatever the pieces, nothing is lost, and no line is too long.
func FuzzSplit(f *testing.F) {
	f.Add("some\r\nlines\n, the last of which is rather long and has no end", 7)
	f.Add("\xff\n\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0\xe5\xa5\xbd", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			return
		}
		const max = 8
		lines := split(max, size, text)
		if !strings.Contains(text, "\r") {
			require.Equal(t, strings.ReplaceAll(text, "\n", ""), strings.Join(lines, ""))
		}
		assert.Equal(t, split(max, 1, text), lines, "lines do not depend on the pieces")
		for _, line := range lines {
			assert.LessOrEqual(t, len(line), max)
			assert.NotContains(t, line, "\n")
			if utf8.ValidString(text) {
				assert.True(t, utf8.ValidString(line))
			}
		}
	})
}

// Memory of long lines is not kept.
func TestSplitForgets(t *testing.T) {
	s := splitter{max: 60 << 10}
	s.feed(bytes.Repeat([]byte("x"), 50<<10), func([]byte) {})
	require.Greater(t, cap(s.partial), idleBuffer)
	s.feed([]byte("\n"), func([]byte) {})
	assert.LessOrEqual(t, cap(s.partial), idleBuffer)
}
