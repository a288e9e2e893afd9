// Package commandline reads command lines with kong. What all programs answer to one alike is here: help, and what is wrong with it.
package commandline

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"
)

// A Program is what its command line is read for.
type Program struct {
	Name        string             // stands before all that is said
	Description string             // what its help begins with
	Stdout      io.Writer          // of help; nil is that of the process
	Stderr      io.Writer          // of what is wrong; nil is that of the process
	Misuse      func(error) string // what is said of a command line that makes no sense; nil is the error, and where the help is
}

// Parse reads args into cli, a pointer to a struct that is tagged as kong has it. Where the program has nothing more to do, because help
// was shown or the command line makes no sense, which has been said, command is nil and code is what the program exits with: 0 or 2.
// It is 1 where kong cannot use the struct.
func (p Program) Parse(cli any, args []string, options ...kong.Option) (command *kong.Context, code int) {
	code = -1
	all := []kong.Option{
		kong.Name(p.Name), kong.Description(p.Description), kong.Writers(cmp.Or[io.Writer](p.Stdout, os.Stdout), p.stderr()),
		kong.Exit(func(n int) { code = n }),
	}
	parser, err := kong.New(cli, append(all, options...)...)
	if err != nil {
		fmt.Fprintf(p.stderr(), "%s: %v\n", p.Name, err)
		return nil, 1
	}
	command, err = parser.Parse(args)
	switch {
	case code >= 0: // kong goes on after --help, and stumbles over what is missing
		return nil, code
	case err != nil:
		return nil, p.Misused(err)
	}
	return command, 0
}

// Misused says what is wrong with a command line, and returns the exit code.
func (p Program) Misused(err error) (code int) {
	text := err.Error() + "; try --help"
	if p.Misuse != nil {
		text = p.Misuse(err)
	}
	fmt.Fprintf(p.stderr(), "%s: %s\n", p.Name, text)
	return 2
}

// Version is what the program was built from.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (p Program) stderr() io.Writer { return cmp.Or[io.Writer](p.Stderr, os.Stderr) }
