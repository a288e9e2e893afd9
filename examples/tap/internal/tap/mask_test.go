package tap_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/tap/internal/tap"
)

func ExampleMask() {
	masked, err := tap.Mask([]byte(`{"droplet": 42, "env": ["RACK_ENV=production"], "executableUri": "http://u:p@cc.example.com/x"}`))
	fmt.Println(string(masked), err)
	// Output: {"droplet":42,"env":["RACK_ENV=…"],"executableUri":"http://…@cc.example.com/x"} <nil>
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		// left as it is, but for blanks
		`{ "b" : 1.50, "a" : [ true, null, "x", 1e400, -0 ] }`: `{"b":1.50,"a":[true,null,"x",1e400,-0]}`,
		`"<a href='x'>&"`:               `"<a href='x'>&"`,
		`{}`:                            `{}`,
		`[]`:                            `[]`,
		`{"a":1,"a":2}`:                 `{"a":1,"a":2}`,
		`"http://host:80/p?q=a#b"`:      `"http://host:80/p?q=a#b"`,
		`"http://host/a@b"`:             `"http://host/a@b"`,
		`"http://[::1]/a"`:              `"http://[::1]/a"`,
		`"mail me@example.com"`:         `"mail me@example.com"`,
		`{"environments":"production"}`: `{"environments":"production"}`,

		// user info
		`"http://u:p@host/x"`:                        `"http://…@host/x"`,
		`"http://token@host/x"`:                      `"http://…@host/x"`,
		`"git clone https://u:p@h/x.git: failed"`:    `"git clone https://…@h/x.git: failed"`,
		`"a://u:p@h/, b://v:q@i/"`:                   `"a://…@h/, b://…@i/"`,
		`"mysql://u:p@ss@h/db"`:                      `"mysql://…@h/db"`,
		`"mysql://u:p/ss@h/db"`:                      `"mysql://…@h/db"`,
		`"mysql://u:p#s@h/db"`:                       `"mysql://…@h/db"`,
		`"mysql://u:p'ss@h/db"`:                      `"mysql://…@h/db"`,
		`"clone 'http://u:p@h/x' failed"`:            `"clone 'http://…@h/x' failed"`,
		`"nats:\/\/u:p@h"`:                           `"nats://…@h"`,
		`{"http://u:p@h":1}`:                         `{"http://…@h":1}`,
		`{"a":[{"b":["http://u:p@h"]}]}`:             `{"a":[{"b":["http://…@h"]}]}`,
		`"http://h/f?path=a&timestamp=1&hmac=ab12"`:  `"http://h/f?path=a&timestamp=1&hmac=…"`,
		`"http://u:p@h/f?hmac=ab12&path=x"`:          `"http://…@h/f?hmac=…&path=x"`,
		`{"syslog_drain_url":"syslog://u:p@h:514/"}`: `{"syslog_drain_url":"syslog://…@h:514/"}`,

		// by key
		`{"credentials":{"uri":"mysql://h","n":[1]}}`:            `{"credentials":"…"}`,
		`{"Credentials":["u","p"]}`:                              `{"Credentials":"…"}`,
		`{"credentials":null}`:                                   `{"credentials":null}`,
		`{"dbPassword":5,"client_secret":"x","passwords":false}`: `{"dbPassword":"…","client_secret":"…","passwords":"…"}`,
		`{"env":["A=1","B=x=y","C=",7,"D"],"x":1}`:               `{"env":["A=…","B=…","C=…","…","…"],"x":1}`,
		`{"ENV":{"B":"1","A":{"c":2}}}`:                          `{"ENV":{"A":"…","B":"…"}}`,
		`{"environment":"A=1"}`:                                  `{"environment":"…"}`,
		`{"env":null,"environment":[]}`:                          `{"env":null,"environment":[]}`,
		`{"start_message":{"env":["A=1"]}}`:                      `{"start_message":{"env":["A=…"]}}`,
		`{"\u0065nv":["A=1"]}`:                                   `{"env":["A=…"]}`,
	} {
		got, err := tap.Mask([]byte(in))
		require.NoError(t, err, in)
		assert.Equal(t, want, string(got), in)
	}
}

func TestMaskRefusesWhatIsNotJSON(t *testing.T) {
	for _, in := range []string{"", " ", "{", `{"a":1}x`, `{"a":1}{}`, "\x00", strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)} {
		_, err := tap.Mask([]byte(in))
		assert.ErrorIs(t, err, tap.ErrNotJSON, "%.20q", in)
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte(`{"env":["A=1"],"credentials":{"a":[1,"x"]},"u":"http://u:p@h/?hmac=1"}`))
	f.Add([]byte(`[1e999,"\ud800\u0000","://@",{"":null}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		masked, err := tap.Mask(data)
		if err != nil {
			if json.Valid(data) {
				t.Fatalf("valid JSON refused: %v", err)
			}
			return
		}
		again, err := tap.Mask(masked)
		if err != nil || string(again) != string(masked) {
			t.Fatalf("masked twice: %v\n%s\n%s", err, masked, again)
		}
		wrapped, err := tap.Mask([]byte(`{"credentials":` + string(data) + `}`))
		if err == nil && string(wrapped) != `{"credentials":"…"}` && string(masked) != "null" {
			t.Fatalf("credentials shown: %s", wrapped)
		}
	})
}
