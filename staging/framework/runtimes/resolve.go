package runtimes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/words"
)

// The reasons for which there is no runtime; they come wrapped in a text that names it and says what to do.
var (
	// ErrUnknown: a strict resolver has no runtime of this name.
	ErrUnknown = errors.New("the runtime is not configured")
	// ErrNotInstalled: its executable was not found.
	ErrNotInstalled = errors.New("the runtime is not installed")
	// ErrCheck: its executable does not run, or is not of the version that is asked for.
	ErrCheck = errors.New("the runtime does not pass its check")
)

// A System is where runtimes are installed: this machine ([Host]), or a container.
type System interface {
	// Find returns the path of an executable: of a name that is looked up in the directories of search (in the form of PATH;
	// empty means those of the system), or of an absolute path. It fails with ErrNotInstalled.
	Find(ctx context.Context, name, search string) (string, error)

	// Variable returns a variable of the environment; "" if there is none.
	Variable(name string) string

	// Output runs a program in an environment that holds nothing but HOME and PATH, and returns what it prints to both of its
	// streams. A status that is not 0 is an error. It bounds time and output.
	Output(ctx context.Context, program string, args ...string) (string, error)
}

// A Resolver finds runtimes.
type Resolver struct {
	System    System
	Catalogue Catalogue

	// Strict takes the names of the catalogue only, wants a version_output, and fails where a check does.
	Strict bool
}

// Resolved is a runtime that was found.
type Resolved struct {
	Runtime             // as asked for, with what the catalogue adds; Executable is an absolute path
	Canonical  string   // name in the catalogue; the requested one if that has none
	Found      string   // version of the executable, "3.1.2"; empty if it did not tell one
	Warnings   []string // for people: what is not as asked for
	Advertised string   // name that was asked for
}

// Resolve finds the executable of a runtime (legacy-stager reference, 13.3): the requested one if it is an absolute path
// that exists, else its name, searched in the PATH of the runtime's environment and in that of the system, else what
// the catalogue knows under the runtime's name or, unless the resolver is strict, under an alias. Then it checks it.
func (r Resolver) Resolve(ctx context.Context, asked Runtime) (Resolved, error) {
	entry, known := r.Catalogue.find(asked.Name, !r.Strict)
	if !known && r.Strict {
		return Resolved{}, fmt.Errorf("runtime %q: %w; there are %s", asked.Name, ErrUnknown, orNone(r.Catalogue.Names(false)))
	}
	found := Resolved{Runtime: merge(asked, entry.Runtime), Canonical: cmp.Or(entry.Name, asked.Name), Advertised: asked.Name}
	executable, err := r.find(ctx, found.Runtime, entry)
	if err != nil {
		return Resolved{}, err
	}
	found.Executable = executable
	if err := r.check(ctx, &found); err != nil {
		return Resolved{}, fmt.Errorf("runtime %q (%s): %w", asked.Name, executable, err)
	}
	return found, nil
}

// merge fills what was not asked for. How to check is the catalogue's word first: it knows what is installed.
func merge(asked, known Runtime) Runtime {
	merged := asked
	merged.Executable = cmp.Or(asked.Executable, known.Executable)
	merged.VersionFlag = cmp.Or(known.VersionFlag, asked.VersionFlag, "-v")
	merged.VersionOutput = cmp.Or(known.VersionOutput, asked.VersionOutput)
	merged.AdditionalChecks = cmp.Or(known.AdditionalChecks, asked.AdditionalChecks)
	merged.Bundler = cmp.Or(asked.Bundler, known.Bundler)
	merged.NPM = cmp.Or(asked.NPM, known.NPM)
	if merged.Environment == nil {
		merged.Environment = known.Environment
	}
	return merged
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (r Resolver) find(ctx context.Context, asked Runtime, entry Entry) (string, error) {
	candidates := entry.Executables
	if asked.Executable != "" {
		candidates = append([]string{asked.Executable}, candidates...)
	}
	if len(candidates) == 0 {
		candidates = []string{asked.Name}
	}
	for _, name := range candidates {
		if rest, isHome := strings.CutPrefix(name, "$JAVA_HOME/"); isHome {
			home := cmp.Or(asked.Environment["JAVA_HOME"], r.System.Variable("JAVA_HOME"))
			if home == "" {
				continue
			}
			name = path.Join(home, rest)
		}
		for _, search := range []string{asked.Environment["PATH"], ""} {
			found, err := r.System.Find(ctx, name, search)
			if err == nil {
				return found, nil
			}
			if !errors.Is(err, ErrNotInstalled) {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("runtime %q: %w: no %s was found; install it, or name its path as the executable of the runtime",
		asked.Name, ErrNotInstalled, strings.Join(candidates, " or "))
}

// check runs the checks of the first-generation DEA. Where the resolver is relaxed, what does not match is a warning.
func (r Resolver) check(ctx context.Context, found *Resolved) error {
	output, err := r.ask(ctx, found.Runtime, found.VersionFlag)
	if err != nil {
		return err
	}
	found.Found = version.FindString(output)
	if found.Version != "" && found.Found != "" && !sameVersion(found.Version, found.Found) {
		found.Warnings = append(found.Warnings, fmt.Sprintf("The app asks for %s %s and gets %s.", found.Name, found.Version, found.Found))
	}
	if problem := matches(found.VersionOutput, output); problem != "" {
		if err := r.object(found, problem); err != nil {
			return err
		}
	}
	if found.AdditionalChecks == "" {
		return nil
	}
	output, err = r.ask(ctx, found.Runtime, found.AdditionalChecks)
	if err != nil {
		return err
	}
	if !isTrue.MatchString(output) {
		return r.object(found, fmt.Sprintf("its additional check says %q, not true", shorten(output)))
	}
	return nil
}

// object makes an error of what is wrong if the resolver is strict, else a warning.
func (r Resolver) object(found *Resolved, problem string) error {
	if r.Strict {
		return fmt.Errorf("%w: %s", ErrCheck, problem)
	}
	found.Warnings = append(found.Warnings, fmt.Sprintf("Runtime %s: %s.", found.Name, problem))
	return nil
}

var (
	version = regexp.MustCompile(`\d+(\.\d+)+|R\d+[A-Z]\d*|\b\d+\b`)
	isTrue  = regexp.MustCompile(`(?i)true`)
)

// sameVersion tells whether the version that is asked for is that which was found, as far as both tell.
func sameVersion(asked, found string) bool {
	asked = version.FindString(asked)
	return asked == "" || asked == found || strings.HasPrefix(found, asked+".") || strings.HasPrefix(asked, found+".")
}

// matches tells what is wrong with what a runtime printed; "" if nothing is.
func matches(pattern, output string) string {
	if pattern == "" {
		return "no version_output tells what its check must print"
	}
	expr, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return fmt.Sprintf("its version_output is no regular expression: %v", err)
	}
	if !expr.MatchString(output) {
		return fmt.Sprintf("it says %q, which does not match %q", shorten(output), pattern)
	}
	return ""
}

func shorten(text string) string {
	const most = 200
	text = strings.TrimSpace(text)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// ask runs the executable. Its arguments are split as a shell does, and no shell sees them: they may come in a request.
func (r Resolver) ask(ctx context.Context, of Runtime, flags string) (string, error) {
	args, err := words.Split(flags)
	if err != nil {
		return "", fmt.Errorf("%w: its arguments %q: %w", ErrCheck, shorten(flags), err)
	}
	output, err := r.System.Output(ctx, of.Executable, args...)
	if err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("%w: %w", ErrCheck, err)
	}
	return output, err
}
