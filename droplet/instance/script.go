package instance

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/messaging"
)

// startScript is what bash reads on its standard input, in the home directory of the app user, to become the app. The
// system's variables are in its environment already; those of the user are exported here, because apps rely on the
// shell expanding them ("PATH=$PATH:/x"), and so are visible to the scripts in .profile.d, which run with no standard input
// so that they cannot eat the rest of the script.
//
// Droplets of buildpacks that supply and finalize are told by their directories deps and profile.d. Their scripts run in
// the directory of the app, in the order of buildpackapplifecycle: those of the buildpacks, those of the app, then .profile.
// All others start as with dea_ng.
//
// setup is a piece of shell that the operator wants to be run right before the app.
func startScript(user []messaging.EnvVar, setup string, app startCommand) string {
	var b strings.Builder
	b.WriteString(exports(user))
	b.WriteString(`unset GEM_PATH
mkdir -p app logs tmp
exec >>logs/stdout.log 2>>logs/stderr.log
if [ -d deps ] && [ -d profile.d ]; then
  DROPLET_BASE_DIR=$PWD
  export DEPS_DIR=$PWD/deps
  cd app
  for i in ../profile.d/* .profile.d/* ./.profile; do
    if [ -f "$i" ] && [ -r "$i" ]; then
      . "$i" </dev/null
    fi
  done
  unset i
  cd "$DROPLET_BASE_DIR"
elif [ -d app/.profile.d ]; then
  for i in app/.profile.d/*.sh; do
    if [ -r "$i" ]; then
      . "$i" </dev/null
    fi
  done
  unset i
fi
`)
	if setup != "" {
		b.WriteString(setup + "\n")
	}
	b.WriteString("DROPLET_BASE_DIR=$PWD\n")
	if app.command == "" {
		b.WriteString("echo \"$$\" >>run.pid\nexec ./startup </dev/null\n")
		return b.String()
	}
	b.WriteString("cd app\necho \"$$\" >>\"$DROPLET_BASE_DIR/run.pid\"\n")
	fmt.Fprintf(&b, "exec %s %s </dev/null\n", cmp.Or(app.prefix, "bash -c"), appenv.ShellQuote(app.command))
	return b.String()
}

// A startCommand tells how an app is started. An empty command stands for a droplet of the old kind, which brings a script
// named startup.
type startCommand struct {
	command string
	prefix  string // a program with arguments that gets the command as one more, in place of bash -c

	scripts bool    // the script is one of the time before buildpacks, which runs as then
	runtime Runtime // that it has then
}

// hookScript is what bash reads to run a hook of the operator.
func hookScript(user []messaging.EnvVar, hook string) string {
	return exports(user) + hook + "\nexit\n"
}

// exports begins every script: files are private, and the user's variables are set.
func exports(user []messaging.EnvVar) string {
	var b strings.Builder
	b.WriteString("umask 077\n")
	for _, v := range user {
		b.WriteString(exportLine(v))
	}
	return b.String()
}

// exportLine exports one variable of the user. Its value is expanded by the shell as in double quotes, except for the
// three variables that carry foreign text, where that has broken passwords (dea_ng since 2015). A value that is no
// valid text in double quotes, because of a lone back-quote for example, is exported as it is: it must not swallow the
// lines that follow. A name that the shell would not take as one is left out.
func exportLine(v messaging.EnvVar) string {
	if !isName(v.Name) {
		return ""
	}
	literal := "export " + v.Name + "=" + appenv.ShellQuote(v.Value)
	switch v.Name {
	case "VCAP_APPLICATION", "VCAP_SERVICES", "DATABASE_URL":
		return literal + "\n"
	}
	if !strings.ContainsAny(v.Value, "$`\\") {
		return literal + "\n"
	}
	expanded := fmt.Sprintf("export %s=\"%s\"", v.Name, strings.ReplaceAll(v.Value, `"`, `\"`))
	return fmt.Sprintf("eval %s </dev/null 2>/dev/null || %s\n", appenv.ShellQuote(expanded), literal)
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
