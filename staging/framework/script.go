package framework

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Format is a form of startup scripts. Each is what some versions of vcap_staging made; all are run in the same way.
type Format int

// The formats that are written. F3 is that of versions 0.1.61 to 0.1.63, F5 that of 0.1.65 to 0.1.69, in which only
// buildpacks were left.
const (
	F3 Format = iota
	F5
)

// A Startup is the content of a startup script. All texts are for bash and are not escaped: that variables in them are
// expanded is what they are for.
type Startup struct {
	Env     map[string]string // exported; TMPDIR is there unless it is set here
	Unset   []string
	Hook    string // lines between the environment and the change of directory
	Dir     string // relative to the droplet, in which Command starts; empty means app
	Command string // its last line is what becomes the app

	Format Format
}

// String returns the script.
func (s Startup) String() string {
	dir := s.Dir
	if dir == "" {
		dir = "app"
	}
	var b strings.Builder
	lines := func(text string) {
		for line := range strings.SplitSeq(text, "\n") {
			if strings.TrimSpace(line) != "" {
				b.WriteString(line + "\n")
			}
		}
	}
	lines("#!/bin/bash\n" + environment(s.Env, s.Unset) + "\n" + s.Hook)
	if s.Format == F3 {
		lines(fmt.Sprintf("cd %s\n%s > ../logs/stdout.log 2> ../logs/stderr.log &", dir, s.Command))
		lines("STARTED=$!\necho \"$STARTED\" >> ../run.pid\nwait $STARTED")
		return b.String()
	}
	lines(fmt.Sprintf("DROPLET_BASE_DIR=$PWD\ncd %s\n(%s) > $DROPLET_BASE_DIR/logs/stdout.log 2> $DROPLET_BASE_DIR/logs/stderr.log &",
		dir, s.Command))
	lines("STARTED=$!\necho \"$STARTED\" >> $DROPLET_BASE_DIR/run.pid\nwait $STARTED")
	return b.String()
}

// environment returns the lines that set and unset variables, sorted bytewise as whole lines: "export" before "unset".
func environment(env map[string]string, unset []string) string {
	all := map[string]string{"TMPDIR": "$PWD/tmp"}
	maps.Copy(all, env)
	for _, name := range unset {
		delete(all, name)
	}
	var lines []string
	for name, value := range all {
		lines = append(lines, fmt.Sprintf("export %s=\"%s\"", name, value))
	}
	for _, name := range unset {
		lines = append(lines, "unset "+name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// The bodies of stop scripts. They get the pid of the app as their first argument.
const (
	// stopBoth ends the app, and the startup script that waits for it.
	stopBoth = "APP_PID=$1\nAPP_PPID=`ps -o ppid= -p $APP_PID`\nkill -9 $APP_PID\nkill -9 $APP_PPID"

	// stopChildren ends the app and its children, of which servers like Apache have many.
	stopChildren = "CHILDPIDS=$(pgrep -P ${1} -d ' ')\nkill -9 ${1}\nfor CPID in ${CHILDPIDS};do\n  kill -9 ${CPID}\ndone"

	// stopConsole ends the console of Rails as well.
	stopConsole = stopBoth + "\nSCRIPT=$(readlink -f \"$0\")\nSCRIPTPATH=`dirname \"$SCRIPT\"`\n" +
		"CONSOLE_PID=`head -1 $SCRIPTPATH/console.pid`\nkill -9 $CONSOLE_PID"
)

// stopScript returns a stop script with the given body.
func stopScript(body string) string {
	return "#!/bin/bash\n" + environment(nil, nil) + "\n" + body + "\n"
}
