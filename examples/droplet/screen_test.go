package main

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLinesOfOthersAreClean(t *testing.T) {
	plain, colored := &screen{}, &screen{color: true}
	for _, tc := range []struct{ line, plain, colored string }{
		{"text\n", "text", "text"},
		{"\x1b[1;32mgreen\x1b[0m text\r\n", "green text", "\x1b[1;32mgreen\x1b[0m text\x1b[0m"},
		{"10 %\r20 %\r30 %", "30 %", "30 %"},
		{"a\x1b[2Jb\x1b]0;title\ac", "a\uFFFD[2Jb\uFFFD]0;title\uFFFDc", "a\uFFFD[2Jb\uFFFD]0;title\uFFFDc"},
		{"\x1b[31m\x1b[2J", "\uFFFD[2J", "\x1b[31m\uFFFD[2J\x1b[0m"},
		{"not \xff text \x9b", "not \uFFFD text \uFFFD", "not \uFFFD text \uFFFD"},
		{"tab\tand ünï", "tab\tand ünï", "tab\tand ünï"},
	} {
		assert.Equal(t, tc.plain, plain.clean(tc.line))
		assert.Equal(t, tc.colored, colored.clean(tc.line))
	}
}

func TestProgressGivesWayToLines(t *testing.T) {
	out := &record{}
	s := &screen{out: out, terminal: true}
	s.progress("compile")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "compile  0 s") }, patience, 1)
	s.line("one")
	s.progress("pack")
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "pack  0 s") }, patience, 1)
	s.close()
	const wipe = "\r\x1b[K"
	assert.Equal(t, "compile  0 s"+wipe+"one\ncompile  0 s"+wipe+"pack  0 s"+wipe, out.String())
}

func TestWhereThereIsNoTerminalThereIsNoProgress(t *testing.T) {
	out := &record{}
	s := &screen{out: out}
	s.progress("compile")
	s.heading("one")
	s.close()
	assert.Equal(t, "one\n", out.String())
	quiet := &screen{out: out, terminal: true, quiet: true}
	quiet.progress("compile")
	quiet.line("two")
	quiet.close()
	assert.Equal(t, "one\n", out.String())
}

func TestLineWriterHandsLinesOn(t *testing.T) {
	var lines []string
	w := &lineWriter{show: func(line string) { lines = append(lines, line) }}
	for _, piece := range []string{"a\nb", "c\n\nd", strings.Repeat("x", maxLine), "y"} {
		_, err := io.WriteString(w, piece)
		require.NoError(t, err)
	}
	w.flush()
	w.flush()
	assert.Equal(t, []string{"a", "bc", "", "d" + strings.Repeat("x", maxLine), "y"}, lines)
}

func TestSizes(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 bytes", 10239: "10239 bytes", 10240: "10.0 KB", 1 << 20: "1.0 MB", 1 << 30: "1024.0 MB"} {
		assert.Equal(t, want, size(bytes))
	}
	var m megabytes
	for text, want := range map[string]megabytes{"512": 512, "512M": 512, "2G": 2048, "2gb": 2048, "0": 0} {
		require.NoError(t, m.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, m)
	}
	for _, text := range []string{"", "-1", "1T", "G", "1.5G", "99999999999999999999", "9999999999G"} {
		assert.Error(t, m.UnmarshalText([]byte(text)), text)
	}
}

func TestMoments(t *testing.T) {
	var m moment
	require.NoError(t, m.UnmarshalText([]byte("2020-01-01T00:00:00Z")))
	assert.Equal(t, int64(1577836800), m.Unix())
	require.NoError(t, m.UnmarshalText([]byte("1577836800")))
	assert.Equal(t, int64(1577836800), m.Unix())
	for _, text := range []string{"", "noon", "2020-01-01", "-5", "99999999999999"} {
		assert.Error(t, m.UnmarshalText([]byte(text)), text)
	}
}
