package commandline_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/commandline"
)

type cli struct {
	Mode string `enum:"${modes}" default:"slow" help:"One of ${enum}."`
	Go   struct {
		Where string `arg:""`
	} `cmd:""`
}

// Validate implements a hook of kong.
func (c *cli) Validate() error {
	if c.Go.Where == "nowhere" {
		return errors.New("there is no nowhere")
	}
	return nil
}

func TestParse(t *testing.T) {
	modes := kong.Vars{"modes": "slow,fast"}
	for name, tc := range map[string]struct {
		args        []string
		code        int // -1: the program goes on
		says, warns string
	}{
		"command":              {args: []string{"go", "home", "--mode", "fast"}, code: -1},
		"help":                 {args: []string{"--help"}, says: "Goes places."},
		"help of a command":    {args: []string{"go", "--help"}, says: "goer go <where>"},
		"help, with no sense":  {args: []string{"--help", "--mode", "odd"}, says: "One of slow,fast."},
		"nothing":              {code: 2, warns: "goer: expected \"go\"; try --help\n"},
		"unknown option":       {args: []string{"--sideways"}, code: 2, warns: "goer: unknown flag --sideways; try --help\n"},
		"what the cli refuses": {args: []string{"go", "nowhere"}, code: 2, warns: "goer: there is no nowhere; try --help\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var c cli
			var stdout, stderr bytes.Buffer
			p := commandline.Program{Name: "goer", Description: "Goes places.", Stdout: &stdout, Stderr: &stderr}
			command, code := p.Parse(&c, tc.args, modes)
			assert.Equal(t, tc.warns, stderr.String())
			if tc.says == "" {
				assert.Empty(t, stdout.String())
			}
			assert.Contains(t, stdout.String(), tc.says)
			if tc.code >= 0 {
				assert.Nil(t, command)
				assert.Equal(t, tc.code, code)
				return
			}
			require.NotNil(t, command)
			assert.Equal(t, "go <where>", command.Command())
			assert.Equal(t, []string{"home", "fast"}, []string{c.Go.Where, c.Mode})
		})
	}
}

// A program may have words of its own for what is wrong.
func TestMisuse(t *testing.T) {
	var stderr bytes.Buffer
	p := commandline.Program{Name: "goer", Stderr: &stderr, Misuse: func(err error) string { return err.Error() + "; ask somebody" }}
	command, code := p.Parse(&struct{}{}, []string{"fly"})
	assert.Nil(t, command)
	assert.Equal(t, 2, code)
	assert.Equal(t, 2, p.Misused(errors.New("not now")))
	assert.Equal(t, "goer: unexpected argument fly; ask somebody\ngoer: not now; ask somebody\n", stderr.String())
}

// What kong cannot read is the program's fault, not that of the command line.
func TestUnusable(t *testing.T) {
	var stderr bytes.Buffer
	command, code := commandline.Program{Name: "goer", Stderr: &stderr}.Parse(&struct {
		Odd chan int
	}{}, nil)
	assert.Nil(t, command)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr.String(), "goer: ")
}
