package cnb

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// MaxFileBytes bounds each file that a buildpack writes for us, and each value of a variable.
const MaxFileBytes = 1 << 20

const (
	maxDepth = 32 // of lists and tables in each other
	maxDots  = 16 // in one key
)

// ErrTooLarge means that a file, or what it asks for, is beyond all reason.
var ErrTooLarge = errors.New("too large")

// A FileError tells what is wrong with a file of a buildpack.
type FileError struct {
	File string // "launch.toml of samples/hello"
	Key  string // "processes[1].command"; empty when it is the file as a whole
	Err  error
}

func (e *FileError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.File, e.Key, e.Err)
}

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

func wrong(file, key, format string, args ...any) error {
	return &FileError{File: file, Key: key, Err: fmt.Errorf(format, args...)}
}

// decode reads a TOML file. Keys that to does not have are passed over.
func decode(file string, data []byte, to any) (toml.MetaData, error) {
	if err := tame(data); err != nil {
		return toml.MetaData{}, &FileError{File: file, Err: err}
	}
	meta, err := toml.NewDecoder(bytes.NewReader(data)).Decode(to)
	var parse toml.ParseError
	switch {
	case errors.As(err, &parse):
		text := strings.TrimPrefix(parse.Message, "toml: ")
		return meta, wrong(file, parse.LastKey, "line %d: %s", parse.Position.Line, text)
	case err != nil:
		// A value of another type than to has: the decoder tells that as text only.
		if parts := mismatch.FindStringSubmatch(err.Error()); parts != nil {
			return meta, wrong(file, parts[2], "line %s: %s", parts[1], parts[3])
		}
		return meta, &FileError{File: file, Err: err}
	}
	return meta, nil
}

var mismatch = regexp.MustCompile(`^toml: line ([0-9]+) \(last key "([^"]*)"\): (.*)$`)

// encode writes TOML.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := toml.NewEncoder(&out)
	e.Indent = ""
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write TOML: %w", err)
	}
	return out.Bytes(), nil
}

// tame refuses TOML that is small and still takes a decoder for ever, or all of the stack: lists and tables deep in each
// other, and keys of many parts.
func tame(data []byte) error {
	if len(data) > MaxFileBytes {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxFileBytes)
	}
	depth, dots := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '#':
			i += lengthTo(data[i:], "\n") - 1
		case '"', '\'':
			i += stringLength(data[i:]) - 1
		case '[', '{':
			depth, dots = depth+1, 0
		case ']', '}':
			depth = max(depth-1, 0)
		case '.':
			dots++
		case ',', '=', '\n':
			dots = 0
		}
		if depth > maxDepth {
			return fmt.Errorf("%w: more than %d lists or tables in each other", ErrTooLarge, maxDepth)
		}
		if dots > maxDots {
			return fmt.Errorf("%w: a key of more than %d parts", ErrTooLarge, maxDots)
		}
	}
	return nil
}

// stringLength returns the length of the string that data begins with, its quotes included.
func stringLength(data []byte) int {
	quote := string(data[:1])
	end, lines := quote, false
	if bytes.HasPrefix(data, []byte(quote+quote+quote)) {
		end, lines = quote+quote+quote, true
	}
	for i := len(end); i < len(data); i++ {
		switch {
		case data[i] == '\\' && quote == `"`:
			i++
		case data[i] == '\n' && !lines: // no string of TOML: the decoder will say so
			return i
		case bytes.HasPrefix(data[i:], []byte(end)):
			return i + len(end)
		}
	}
	return len(data)
}

func lengthTo(data []byte, end string) int {
	if i := bytes.Index(data, []byte(end)); i >= 0 {
		return i
	}
	return len(data)
}
