package buildpack

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseProcfile(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       map[string]string
	}{
		{"usual", "web: bundle exec rackup -p $PORT\nworker: rake jobs\n", map[string]string{"web": "bundle exec rackup -p $PORT", "worker": "rake jobs"}},
		{"YAML comments", "web: a # b\n", map[string]string{"web": "a"}},
		{"values that are no text", "web: 8080\nflag: true\nnone: ~\nlist: [a]\n", map[string]string{"web": "8080", "flag": "true"}},
		{"alias", "web: &x run\nworker: *x\n", map[string]string{"web": "run", "worker": "run"}},
		{"folded", "web: >\n  a\n  b\n", map[string]string{"web": "a b\n"}},
		{"empty map", "{}", map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseProcfile([]byte(test.text))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
	for _, text := range []string{"", "\n# nothing\n", "null", "- web: a\n", "text", "web: foo: bar", "\xff\xfe", "a: [", strings.Repeat("#", MaxProcfileBytes+1)} {
		_, err := ParseProcfile([]byte(text))
		assert.ErrorIs(t, err, ErrProcfile, "%.20q", text)
	}
}

// TestAliasesThatGrow: what is small to read must not be large to tell.
func TestAliasesThatGrow(t *testing.T) {
	bomb := "a: &a " + strings.Repeat("x", MaxProcfileBytes/2) + "\n"
	for i := range 1000 {
		bomb += fmt.Sprintf("p%d: *a\n", i)
	}
	require.Less(t, len(bomb), MaxProcfileBytes)
	_, err := ParseProcfile([]byte(bomb))
	require.ErrorIs(t, err, ErrProcfile)
	_, err = parseRelease([]byte("default_process_types:\n  " + strings.ReplaceAll(strings.TrimSpace(bomb), "\n", "\n  ")))
	require.ErrorContains(t, err, "more than 65536 bytes in all")
}

// FuzzRelease feeds both parsers: what they take, they take without a panic, and every command is text.
func FuzzRelease(f *testing.F) {
	for _, seed := range []string{
		"---\ndefault_process_types:\n  web: bundle exec rackup\naddons: []\nconfig_vars: {}\n", "web: a\nweb: b\n", "a: &a [*a]\n",
		"<<: {web: a}\n", "a: &x {web: b}\ndefault_process_types: *x\n", "{\"web\": \"a\"}", "? [a]\n: b\n", "!!binary x: y", "null",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		types, err := ParseProcfile(data)
		if err != nil && !errors.Is(err, ErrProcfile) {
			t.Fatal(err)
		}
		released, _ := parseRelease(data)
		for _, commands := range []map[string]string{types, released} {
			for name, command := range commands {
				if name == "" || command == "" {
					t.Fatalf("%q: %q", name, command)
				}
			}
		}
	})
}
