package compile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	excerptBytes = 10 << 10         // of a longer output is told (bosh-agent)
	lineBytes    = excerptBytes / 4 // a first line that is cut is left out if it ends within so many
	shortLines   = 100
)

// A ScriptError is a script that failed.
type ScriptError struct {
	Package        string
	Status         int // 128 + n if signal n ended it
	Stdout, Stderr Output
}

// An Output is what a script wrote: all, or the last 10 KiB from the beginning of a line on.
type Output struct {
	Text      string
	Truncated bool
}

// Error has the words of the original, and the output.
func (e *ScriptError) Error() string { return e.text(e.Stdout, e.Stderr) }

// ShortError is Error with the last 100 lines of either output, for replies of limited size.
func (e *ScriptError) ShortError() string { return e.text(e.Stdout.short(), e.Stderr.short()) }

func (e *ScriptError) text(stdout, stderr Output) string {
	return fmt.Sprintf("Compiling package %s: Running packaging script: Running packaging script: Command exited with %d; %s, %s",
		e.Package, e.Status, stdout.labelled("stdout"), stderr.labelled("stderr"))
}

func (o Output) labelled(stream string) string {
	if o.Truncated {
		return "Truncated " + stream + ": " + o.Text
	}
	return strings.ToUpper(stream[:1]) + stream[1:] + ": " + o.Text
}

func (o Output) short() Output {
	lines := strings.SplitAfter(o.Text, "\n")
	if strings.HasSuffix(o.Text, "\n") {
		lines = lines[:len(lines)-1]
	}
	if len(lines) <= shortLines {
		return o
	}
	return Output{strings.Join(lines[len(lines)-shortLines:], ""), true}
}

// excerpt reads what there is to tell of an output.
func excerpt(f *os.File) (Output, error) {
	info, err := f.Stat()
	if err != nil {
		return Output{}, err
	}
	from := max(0, info.Size()-excerptBytes)
	data := make([]byte, info.Size()-from)
	n, err := f.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return Output{}, err
	}
	data = data[:n]
	if from > 0 {
		if end := bytes.IndexByte(data[:min(lineBytes, n)], '\n'); end >= 0 {
			data = data[end+1:]
		}
	}
	return Output{strings.ToValidUTF8(string(data), "\ufffd"), from > 0}, nil
}
