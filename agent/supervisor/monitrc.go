package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Definition says how one process is run: what [ParseMonit] reads of a "check process".
type Definition struct {
	Name    string
	PIDFile string  // where the process, or who starts it, writes its id
	Start   Command // required
	Stop    Command // empty: the process is sent TERM
	Groups  []string
}

// A Command is a program that starts or stops a process.
type Command struct {
	Args     []string      // program and arguments; no shell in between
	UID, GID string        // names or numbers of whom it runs as; empty: the supervisor's own
	Timeout  time.Duration // for the process to come up, or to go; 0: the supervisor's own
}

// ParseMonit reads how processes are started and stopped out of a file in monit's language:
//
//	check process nats
//	  with pidfile /var/vcap/sys/run/nats/nats.pid
//	  start program "/var/vcap/jobs/nats/bin/nats_ctl start" as uid vcap and gid vcap with timeout 60 seconds
//	  stop program "/var/vcap/jobs/nats/bin/nats_ctl stop"
//	  group vcap
//
// What else the language has (tests, modes, dependencies, other kinds of checks) is passed over, and told in ignored, as its
// first words. A process without pidfile or start program is an error, and so is a statement that the language does not have.
func ParseMonit(text []byte) (processes []Definition, ignored []string, err error) {
	tokens, err := tokenize(string(text))
	if err != nil {
		return nil, nil, err
	}
	p := &monitParser{tokens: tokens}
	for p.at < len(p.tokens) {
		if err := p.statement(); err != nil {
			return nil, nil, fmt.Errorf("monit file, line %d: %w", p.line(), err)
		}
	}
	for _, d := range p.processes {
		switch {
		case d.PIDFile == "":
			return nil, nil, fmt.Errorf("monit file: process %s has no pidfile", d.Name)
		case len(d.Start.Args) == 0:
			return nil, nil, fmt.Errorf("monit file: process %s has no start program", d.Name)
		}
	}
	return p.processes, p.ignored, nil
}

type monitParser struct {
	tokens    []token
	at        int
	processes []Definition
	current   *Definition // nil within checks that are passed over
	ignored   []string
}

func (p *monitParser) line() int {
	if len(p.tokens) == 0 {
		return 1
	}
	return p.tokens[min(p.at, len(p.tokens)-1)].line
}

// word returns the keyword that is next; empty for a quoted text and at the end.
func (p *monitParser) word() string {
	if p.at >= len(p.tokens) || p.tokens[p.at].quoted {
		return ""
	}
	return strings.ToLower(p.tokens[p.at].text)
}

// accept goes over any of these words.
func (p *monitParser) accept(words ...string) {
	for range words {
		for _, word := range words {
			if p.word() == word {
				p.at++
			}
		}
	}
}

func (p *monitParser) value(what string) (string, error) {
	if p.at >= len(p.tokens) || p.tokens[p.at].text == "" {
		return "", fmt.Errorf("%s is missing", what)
	}
	p.at++
	return p.tokens[p.at-1].text, nil
}

func (p *monitParser) statement() error {
	begin := p.at
	switch word := p.word(); word {
	case "check":
		return p.check()
	case "start", "stop":
		p.at++
		command, err := p.command(word)
		if err != nil || p.current == nil {
			return err
		}
		if word == "start" {
			p.current.Start = command
		} else {
			p.current.Stop = command
		}
		return nil
	case "group":
		p.at++
		name, err := p.value("name of the group")
		if p.current != nil {
			p.current.Groups = append(p.current.Groups, name)
		}
		return err
	case "pidfile":
		return p.pidFile()
	case "with":
		p.at++
		return nil
	}
	if p.tokens[begin].quoted || !passedOver[p.word()] {
		return fmt.Errorf("syntax error at %.40q", p.tokens[begin].text)
	}
	p.skip()
	p.ignored = append(p.ignored, p.shown(begin))
	return nil
}

// passedOver are the words of monit's language with which a statement, or what is left of one, may begin, and which mean nothing
// here.
var passedOver = words("if else then mode depends depend every alert noalert onreboot restart set include matching not program " +
	"is as are for on only within and or has using use the sum to from than usage was times but timeout uid gid " +
	"path address service exec basedir allow type protocol hostheader connection reminder unmonitor monitor manual active passive")

// otherChecks are the kinds of services that are no processes.
var otherChecks = words("file fifo filesystem device directory host system program network")

func words(list string) map[string]bool {
	all := map[string]bool{}
	for word := range strings.FieldsSeq(list) {
		all[word] = true
	}
	return all
}

// check begins a service.
func (p *monitParser) check() error {
	begin := p.at
	p.at++
	kind := p.word()
	p.at++
	name, err := p.value("name of the service")
	if err != nil {
		return err
	}
	if kind != "process" && !otherChecks[kind] {
		return fmt.Errorf("syntax error: check %.40s", p.tokens[begin+1].text)
	}
	if kind != "process" {
		p.current = nil
		p.skip()
		p.ignored = append(p.ignored, p.shown(begin))
		return nil
	}
	p.processes = append(p.processes, Definition{Name: name})
	p.current = &p.processes[len(p.processes)-1]
	return nil
}

func (p *monitParser) pidFile() error {
	p.at++
	name, err := p.value("pidfile")
	if p.current != nil {
		p.current.PIDFile = name
	}
	return err
}

// command reads: [program] "PATH ARGUMENT ..." [as uid U [and] [gid G]] [[with] timeout N seconds].
func (p *monitParser) command(what string) (c Command, err error) {
	p.accept("program")
	text, err := p.value(what + " program")
	if err != nil {
		return c, err
	}
	if c.Args = splitCommand(text); len(c.Args) == 0 {
		return c, fmt.Errorf("%s program %.80q is no command line", what, text)
	}
	for {
		switch p.word() {
		case "as", "and", "with", "using":
			p.at++
			continue
		case "uid", "gid":
			field := map[string]*string{"uid": &c.UID, "gid": &c.GID}[p.word()]
			p.at++
			if *field, err = p.value("user or group"); err != nil {
				return c, err
			}
			continue
		case "timeout":
			p.at++
			if c.Timeout, err = p.seconds(); err != nil {
				return c, err
			}
			continue
		}
		return c, nil
	}
}

func (p *monitParser) seconds() (time.Duration, error) {
	text, err := p.value("timeout")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || n > 24*3600 {
		return 0, fmt.Errorf("timeout %.40q is no number of seconds up to a day", text)
	}
	p.accept("second", "seconds")
	return time.Duration(n) * time.Second, nil
}

// skip goes over a statement that is not understood: to the word that begins the next one. In a test, what follows "then" and
// "else" begins none.
func (p *monitParser) skip() {
	p.at++
	for p.at < len(p.tokens) {
		switch p.word() {
		case "then", "else":
			p.at++
		case "check", "start", "stop", "group", "pidfile", "if", "mode", "depends", "every", "alert", "noalert", "onreboot", "restart", "set", "include":
			return
		}
		p.at++
	}
	p.at = len(p.tokens)
}

// shown is the beginning of a statement.
func (p *monitParser) shown(begin int) string {
	var words []string
	for _, t := range p.tokens[begin:min(begin+4, p.at, len(p.tokens))] {
		words = append(words, t.text)
	}
	return fmt.Sprintf("%.80s", strings.Join(words, " "))
}
