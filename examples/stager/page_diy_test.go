package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// ownTerminal are the commands of the page that do not end by themselves, by how they begin.
var ownTerminal = []string{"go run ", "bin/stager ", "bin/dea ", "bin/paas serve"}

// fails are the commands that the page shows to fail, and their status.
var fails = map[string]int{
	"bin/request-stager examples/apps/python --framework sinatra\n": 3,
	"bin/request-dea droplet.tgz --name other --runtime cobol68\n":  3,
}

// goInCheckout lets go work where the sources are, and put binaries where the page has them.
const goInCheckout = `go() {
	if [ "$1 $2 $3" = "build -o bin/" ]; then
		(here=$PWD; shift 3; cd "$CHECKOUT" && command go build -o "$here/bin/" "$@")
	else
		(cd "$CHECKOUT" && exec go "$@")
	fi
}
`

// TestArticleAsWritten runs the commands of docs/diy-paas.md, from top to bottom: a stager stages an app in Sinatra, a DEA runs it, and
// curl gets its page. Only ports and directories are others, so that tests do not meet.
func TestArticleAsWritten(t *testing.T) {
	ruby := needs.Tool(t, "ruby", "ruby")
	needs.Tool(t, "curl", "curl")
	if exec.Command(ruby, "-e", "require 'sinatra/base'; require 'webrick'").Run() != nil {
		needs.Skip(t, "Ruby has no Sinatra or WEBrick on this machine: apt-get install ruby-sinatra ruby-webrick")
	}
	page, err := os.ReadFile("../../docs/diy-paas.md")
	require.NoError(t, err)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	nats, api, router := freePort(t), freePort(t), freePort(t)
	replace := strings.NewReplacer(
		"nats-server/v2 -a 127.0.0.1", "nats-server/v2 -a 127.0.0.1 -p "+nats, "4222", nats, "34567", freePort(t), "34568", freePort(t), "8080", router,
		"/tmp/deakit", filepath.Join(t.TempDir(), "deakit"),
		"bin/paas serve", "bin/paas serve --listen 127.0.0.1:"+api+" --router 127.0.0.1:"+router+" --nats 127.0.0.1:"+freePort(t),
	)
	dir := checkout(t, replace)
	env := []string{"CHECKOUT=" + root, "NATS_URL=nats://127.0.0.1:" + nats, "PAAS_API=http://127.0.0.1:" + api}
	term := openTerminal(t, dir, env)
	_, code := term.run(goInCheckout)
	require.Zero(t, code)

	all := steps(string(page))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "deakit"), 0o700))
	for _, it := range all {
		commands := replace.Replace(it.commands)
		if staysInFront(it.commands) {
			p := term.background(env, goInCheckout+commands)
			require.NotEmpty(t, it.shown, "the page must show when it is ready:\n%s", commands)
			shows(t, p, replace.Replace(it.shown[0]))
			continue
		}
		out, code := term.run(commands)
		require.Equal(t, fails[it.commands], code, "%s\n%s", commands, out)
		for _, shown := range it.shown {
			assert.Regexp(t, pattern(shown), out, commands)
		}
	}
}

func staysInFront(commands string) bool {
	for _, begin := range ownTerminal {
		if strings.HasPrefix(commands, begin) {
			return true
		}
	}
	return false
}
