package applog

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2014, 3, 9, 12, 0, 0, 123456789, time.FixedZone("", 3600))

func TestMessage(t *testing.T) {
	const guid = "0e7b4b2e-9c1c-4d3a-8f57-0d1f6e3c2b1a"
	for name, tc := range map[string]struct {
		line Line
		want string
	}{
		"app": {Line{Time: noon, App: guid, Instance: "c623", Index: 3, Source: App, Stream: Stdout, Text: "hi"},
			`<14>1 2014-03-09T11:00:00.123456+00:00 node ` + guid + ` [APP/3] - [tags@47450 instance_id="3" process_instance_id="c623"] hi`},
		"error": {Line{Time: noon, App: guid, Source: App, Stream: Stderr, Text: "oops"},
			`<11>1 2014-03-09T11:00:00.123456+00:00 node ` + guid + ` [APP/0] - - oops`},
		"DEA": {Line{Time: noon, App: guid, Index: 3, Source: DEA, Text: "Starting"},
			`<14>1 2014-03-09T11:00:00.123456+00:00 node ` + guid + ` [DEA] - - Starting`},
		"staging": {Line{Time: noon, App: guid, Source: Staging, Text: "Got"},
			`<14>1 2014-03-09T11:00:00.123456+00:00 node ` + guid + ` [STG] - - Got`},
		"nothing": {Line{Time: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}, `<14>1 - node - - - -`},
		"hostile fields": {Line{Time: noon, App: "a b\n\xff", Instance: `x"]\`, Index: -1, Source: "A P", Text: "x"},
			`<14>1 2014-03-09T11:00:00.123456+00:00 node a_b__ [A_P] - [tags@47450 instance_id="-1" process_instance_id="x___"] x`},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(appendMessage(nil, tc.line, "node", 100))
			assert.Equal(t, tc.want, got)
			_, err := parse(got)
			assert.NoError(t, err)
		})
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 漢字 \U0001F600": "plain äöü 漢字 \U0001F600",
		"tab\tstays":              "tab\tstays",
		"a\nb\r":                  "a#012b#015",
		"\x1b[31mred":             "#033[31mred",
		"NUL\x00gone\x7f":         "NULgone#177",
		"bad \xff\xc3 utf8":       "bad \ufffd\ufffd utf8",
		"C1 \u009b":               "C1 \ufffd",
	} {
		assert.Equal(t, want, string(appendText(nil, in, 100)))
	}
	assert.Equal(t, "x漢", string(appendText([]byte("x"), "漢字", 5)), "no half character")
	assert.Equal(t, "ab", string(appendText(nil, "ab\n", 5)), "no half escape")
	assert.Equal(t, "ab", string(appendText(nil, "abc", 2)))
}

func FuzzMessage(f *testing.F) {
	f.Add("guid", "instance", 0, "APP", "stdout", "text", int64(1394362800), "host")
	f.Add("g d\n", "\"]\\", -1, "", "stderr", "a\x00\n\x1b\xff", int64(-1<<60), "")
	f.Add(strings.Repeat("x", 300), strings.Repeat("ä", 300), 1<<62, strings.Repeat("S", 300), "", "", int64(1<<60), strings.Repeat("h", 300))
	f.Fuzz(func(t *testing.T, app, instance string, index int, source, kind, text string, seconds int64, host string) {
		const most = 50
		line := Line{Time: time.Unix(seconds, 0), App: app, Instance: instance, Index: index, Source: Source(source),
			Stream: Stream(kind), Text: text}
		message := string(appendMessage(nil, line, host, most))
		p, err := parse(message)
		require.NoError(t, err, "%q", message)
		assert.Equal(t, map[bool]int{true: 11, false: 14}[kind == "stderr"], p.pri)
		assert.Equal(t, "-", p.msgID)
		if year := line.Time.UTC().Year(); year >= 0 && year <= 9999 {
			assert.True(t, p.time.Equal(line.Time))
		}
		if instance != "" {
			assert.Equal(t, strconv.Itoa(index), p.params["instance_id"])
			assert.NotEmpty(t, p.params["process_instance_id"])
		}
		assert.Equal(t, text != "", p.hasText)
		assert.LessOrEqual(t, len(p.text), most)
		assert.True(t, utf8.ValidString(p.text))
		for _, r := range p.text {
			assert.True(t, r == '\t' || !unicode.IsControl(r), "%q", p.text)
		}
		if text == strings.ToValidUTF8(text, "") && len(text) <= most && !strings.ContainsFunc(text, unicode.IsControl) {
			assert.Equal(t, text, p.text)
		}
		// What a stream carries: the length counts exactly the message and a line feed.
		frames := append(appendFrame(nil, line, host, most), appendFrame(nil, line, host, most)...)
		r := bufio.NewReader(strings.NewReader(string(frames)))
		for range 2 {
			got, err := readFrame(r)
			require.NoError(t, err)
			assert.Equal(t, message+"\n", got)
		}
		_, err = r.ReadByte()
		assert.ErrorIs(t, err, io.EOF)
	})
}

// readFrame reads one message with octet counting (RFC 6587, section 3.4.1).
func readFrame(r *bufio.Reader) (string, error) {
	digits, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 20)
	if err != nil {
		return "", err
	}
	message := make([]byte, n)
	_, err = io.ReadFull(r, message)
	return string(message), err
}
