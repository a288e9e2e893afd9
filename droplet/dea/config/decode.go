package config

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds how many values are looked at: aliases make a small file large.
const maxValues = 20_000

// maxDepth bounds how deep aliases and merged maps may refer to each other.
const maxDepth = 10

// A decoder puts YAML into Go values as strictly as dea_ng's schema does, and goes on after a fault. The YAML library's own
// decoding turns 1.5 into 1 and knows no line of what is merely missing.
type decoder struct {
	file     string
	problems []Problem
	warnings []Warning
	given    map[string]int  // path of each key and list entry with a value, to its line
	failed   map[string]bool // paths with a problem, not to be reported twice
	seen     int             // values looked at
	root     reflect.Type    // the struct that is filled
}

func (d *decoder) fail(path string, line int, format string, args ...any) {
	d.failed[path] = true
	d.problems = append(d.problems, Problem{d.file, line, path, fmt.Sprintf(format, args...)})
}

func (d *decoder) warn(path string, line int, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{d.file, line, path, fmt.Sprintf(format, args...)})
}

// tooMany counts what is looked at, and complains once.
func (d *decoder) tooMany(path string, line int) bool {
	d.seen++
	if d.seen == maxValues+1 {
		d.fail(path, line, "is where the file, with its aliases, gets too large: more than %d values", maxValues)
	}
	return d.seen > maxValues
}

// value puts node, whose key stands in line, into out. accept is the tag of the field: "fraction" lets a number of seconds have a
// fraction, "scalar" lets text be written as any scalar, where dea_ng does not check the type.
func (d *decoder) value(path string, line int, node *yaml.Node, out reflect.Value, accept string) {
	for depth := 0; node.Kind == yaml.AliasNode; depth++ {
		if node = node.Alias; depth == maxDepth {
			d.fail(path, line, "is an alias of too many aliases")
			return
		}
	}
	if d.tooMany(path, line) {
		return
	}
	d.given[path] = line
	switch out.Kind() {
	case reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.value(path, line, node, out.Elem(), accept)
	case reflect.Struct:
		if stack, ok := out.Addr().Interface().(*Stack); ok && isText(node, accept) {
			stack.Name = node.Value // early 2014
			return
		}
		if d.is(path, line, node, yaml.MappingNode) {
			d.fields(path, node, out)
		}
	case reflect.Map:
		if d.is(path, line, node, yaml.MappingNode) {
			d.entries(path, node, out, accept)
		}
	case reflect.Slice:
		if d.is(path, line, node, yaml.SequenceNode) {
			d.list(path, node, out, accept)
		}
	default:
		if d.is(path, line, node, yaml.ScalarNode) {
			d.scalar(path, line, node, out, accept)
		}
	}
}

// is reports whether node is of that kind, and complains if not.
func (d *decoder) is(path string, line int, node *yaml.Node, kind yaml.Kind) bool {
	if node.Kind == kind {
		return true
	}
	names := map[yaml.Kind]string{yaml.MappingNode: "a hash of keys", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
	d.fail(path, line, "must be %s, not %s", names[kind], names[node.Kind])
	return false
}

// fields fills a struct. Keys without a value are absent.
func (d *decoder) fields(path string, node *yaml.Node, out reflect.Value) {
	known := map[string]int{}
	for i := range out.NumField() {
		known[keyOf(out.Type().Field(i))] = i
	}
	pairs := d.pairs(path, node, 0)
	for _, p := range pairs {
		at := join(path, p.key)
		p = d.translate(path, p, pairs)
		i, ok := known[p.key]
		switch {
		case ok && !isNull(p.value):
			d.value(join(path, p.key), p.line, p.value, out.Field(i), out.Type().Field(i).Tag.Get("accept"))
		case ok || p.ignored:
		default:
			d.warn(at, p.line, "is an unknown key%s", suggest(path, p.key, out.Type()))
		}
	}
}

// entries fills a map of text.
func (d *decoder) entries(path string, node *yaml.Node, out reflect.Value, accept string) {
	out.Set(reflect.MakeMap(out.Type()))
	for _, p := range d.pairs(path, node, 0) {
		value := reflect.New(out.Type().Elem()).Elem()
		if !isNull(p.value) {
			d.value(path+"["+p.key+"]", p.line, p.value, value, accept)
		}
		out.SetMapIndex(reflect.ValueOf(p.key), value)
	}
}

func (d *decoder) list(path string, node *yaml.Node, out reflect.Value, accept string) {
	out.Set(reflect.MakeSlice(out.Type(), 0, 0))
	for i, entry := range node.Content {
		if d.seen > maxValues {
			return // value has complained
		}
		value := reflect.New(out.Type().Elem()).Elem()
		d.value(fmt.Sprintf("%s[%d]", path, i), entry.Line, entry, value, accept)
		out.Set(reflect.Append(out, value))
	}
}

func (d *decoder) scalar(path string, line int, node *yaml.Node, out reflect.Value, accept string) {
	wrong := func(want string) {
		want = cmp.Or(d.must(path), want)
		remedy := ""
		if node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 && out.Kind() != reflect.String {
			remedy = ": take the quotes away"
		}
		d.fail(path, line, "must be %s%s", want, remedy)
	}
	if out.Type() == reflect.TypeFor[time.Duration]() {
		if seconds, ok := number(node); accept == "fraction" && !ok {
			wrong("a number of seconds")
		} else if !ok || accept != "fraction" && node.ShortTag() != "!!int" {
			wrong("a whole number of seconds")
		} else if math.Abs(seconds) > maxSeconds {
			wrong("a number of seconds of less than a century")
		} else {
			out.SetInt(int64(seconds * float64(time.Second)))
		}
		return
	}
	switch out.Kind() {
	case reflect.String:
		if !isText(node, accept) {
			wrong("text: put it in quotes")
			return
		}
		out.SetString(node.Value)
	case reflect.Bool:
		if node.Style != 0 || node.Decode(out.Addr().Interface()) != nil { // also yes and no, as Ruby's YAML
			wrong("true or false")
		}
	case reflect.Float64:
		f, ok := number(node)
		if !ok {
			wrong("a number")
			return
		}
		out.SetFloat(f)
	default:
		d.integer(wrong, node, out)
	}
}

// must is what a field says in its tag of the values that it takes: for those of which one sentence tells type and range.
func (d *decoder) must(path string) string {
	field, _ := fieldAt(d.root, path)
	return field.Tag.Get("must")
}

// maxSeconds is a century; a duration holds three.
const maxSeconds = 100 * 366 * 24 * 3600

// integer puts a whole number into out, which has bits of its own.
func (d *decoder) integer(wrong func(string), node *yaml.Node, out reflect.Value) {
	var n int64
	switch {
	case node.ShortTag() != "!!int":
		wrong("a whole number")
	case node.Decode(&n) != nil:
		wrong("a whole number of at most 63 bits")
	case out.Kind() == reflect.Uint16 && (n < 0 || n > math.MaxUint16):
		wrong("a port number from 0 to 65535")
	case out.CanUint() && n < 0:
		wrong("at least 0")
	case out.CanUint():
		out.SetUint(uint64(n))
	default:
		out.SetInt(n)
	}
}

// number returns a finite number that is written as one.
func number(node *yaml.Node) (float64, bool) {
	var f float64
	if tag := node.ShortTag(); tag != "!!int" && tag != "!!float" || node.Decode(&f) != nil {
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// isText reports whether node is text, or may stand for text.
func isText(node *yaml.Node, accept string) bool {
	return node.Kind == yaml.ScalarNode && !isNull(node) && (accept == "scalar" || node.ShortTag() == "!!str")
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

// join makes the path of a key.
func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

// keyOf returns the key of a field.
func keyOf(field reflect.StructField) string { return field.Tag.Get("yaml") }
