package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// MaxBytes bounds the size of a file.
const MaxBytes = 1 << 20

// Load reads the file at path and checks it. Relative paths in it are relative to the working directory. The error is a
// [*LoadError] or an [*InvalidError]. The warnings are by line; they come with an InvalidError, too.
func Load(path string) (*Config, []Warning, error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	return parse(path, data)
}

// read returns a *LoadError.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

func unreadable(path string, err error) error {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		err = failed.Err // it repeats the path
	}
	return &LoadError{path, err}
}

// Parse checks the content of a file, at most MaxBytes, like Load: it also looks whether the certificate files that it
// names are there.
func Parse(data []byte) (*Config, []Warning, error) { return parse("", data) }

func parse(file string, data []byte) (*Config, []Warning, error) {
	cfg := Default()
	d, err := decode(file, data, &cfg)
	if err != nil {
		return nil, nil, err
	}
	d.settle(&cfg)
	d.check(&cfg)
	if err := d.verdict(); err != nil {
		return nil, d.warnings, err
	}
	return &cfg, d.warnings, nil
}

// decode puts the content of a file into cfg, a pointer to a struct that has the defaults. The error is a *LoadError.
func decode(file string, data []byte, cfg any) (*decoder, error) {
	if len(data) > MaxBytes {
		return nil, &LoadError{file, fmt.Errorf("it has more than %d bytes", MaxBytes)}
	}
	var doc, second yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(data))
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, &LoadError{file, withoutQuotes(err)}
	}
	d := &decoder{file: file, given: map[string]int{}, failed: map[string]bool{}, root: reflect.TypeOf(cfg).Elem()}
	if err := documents.Decode(&second); err == nil && !isNull(second.Content[0]) {
		d.warn("", second.Line, "a second YAML document begins here, which is ignored")
	}
	if len(doc.Content) > 0 && !isNull(doc.Content[0]) {
		d.value("", doc.Content[0].Line, doc.Content[0], reflect.ValueOf(cfg).Elem(), "")
	}
	return d, nil
}

// verdict puts all that was found in order, and returns an *InvalidError if there are problems.
func (d *decoder) verdict() error {
	inOrder(d.warnings)
	if len(d.problems) == 0 {
		return nil
	}
	inOrder(d.problems)
	return &InvalidError{d.problems}
}

var quoted = regexp.MustCompile("'[^']*'|`[^`]*`|\"[^\"]*\"")

// withoutQuotes takes from an error of the YAML parser what it quotes of the file: a password that begins with '*' for
// example, which YAML takes for something else.
func withoutQuotes(err error) error {
	return errors.New(quoted.ReplaceAllString(err.Error(), "(…)"))
}
