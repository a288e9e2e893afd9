package protodoc

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deakit/deakit/messaging"
)

//go:embed intro.md
var intro string

// Markdown returns the catalogue as a page for people.
func Markdown(kinds []messaging.Kind, comments Comments) ([]byte, error) {
	p := &page{schemas: NewSchemas(comments), shown: map[string]string{}}
	p.line("<!-- Generated from package messaging: go test ./messaging/internal/protodoc -update -->")
	p.line("%s", intro)
	p.overview(kinds)
	area := ""
	for _, kind := range kinds {
		if kind.Area != area {
			area = kind.Area
			p.line("## %s\n", area)
		}
		if err := p.kind(kind); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Subject, err)
		}
	}
	return append(bytes.TrimRight(p.out.Bytes(), "\n"), '\n'), nil
}

// A page is a document on its way. Each type is described where it first occurs.
type page struct {
	out       bytes.Buffer
	schemas   *Schemas
	described int               // of the schemas' names
	shown     map[string]string // subjects by the examples that were shown for them
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

func (p *page) overview(kinds []messaging.Kind) {
	p.line("## All subjects\n")
	p.line("What the platform node does, who talks to whom, and when peers used it.\n")
	p.line("| subject | the node | from, to | purpose | used |")
	p.line("| --- | --- | --- | --- | --- |")
	for _, k := range kinds {
		p.line("| [`%s`](#%s) | %s | %s → %s | %s | %s |", subject(k), anchor(subject(k)), k.Direction, k.From, to(k), k.Purpose, k.Era)
	}
	p.line("")
}

func (p *page) kind(k messaging.Kind) error {
	p.line("### `%s`\n", subject(k))
	p.text(fmt.Sprintf("%s → %s: %s (the node %s it). Used: %s. %s", k.From, to(k), k.Purpose, verb(k.Direction), k.Era, plain(k.Note)))
	if err := p.message(k, "Message", k.Example); err != nil {
		return err
	}
	for _, answer := range k.Answers {
		if err := p.message(k, "Answer", answer); err != nil {
			return err
		}
	}
	return nil
}

// verb says what the node does with a message on a subject.
func verb(d messaging.Direction) string {
	if d == messaging.NodeAsks {
		return "asks with"
	}
	return string(d)
}

// message shows an example, and describes those of its types that have not been described yet.
func (p *page) message(k messaging.Kind, title string, example any) error {
	t := reflect.TypeOf(example)
	schema, err := p.schemas.Of(t)
	if err != nil {
		return err
	}
	data, err := Encode(example)
	if err != nil {
		return err
	}
	if t == reflect.TypeFor[messaging.Signal]() {
		p.described = len(p.schemas.names) // a signal has no fields
		p.line("**%s**: a signal, any payload will do. `%s` is sent.\n", title, data)
		return nil
	}
	name := fmt.Sprintf("[`%s`](#%s)", t.Name(), anchor(t.Name()))
	if schema.Ref == "" { // a list: it has no table of its own
		name = fmt.Sprintf("`%s`, %s. %s", t.Name(), schema.link(), p.schemas.comments[t.Name()].Text)
	}
	key := t.Name() + string(data)
	if before, ok := p.shown[key]; ok {
		p.line("**%s**: %s, as on [`%s`](#%s)\n", title, name, before, anchor(before))
		return nil
	}
	p.shown[key] = subject(k)
	p.text(fmt.Sprintf("**%s**: %s", title, name))
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, data, "", "  "); err != nil {
		return err
	}
	p.line("```json\n%s\n```\n", pretty.Bytes())
	for ; p.described < len(p.schemas.names); p.described++ {
		p.describe(p.schemas.names[p.described])
	}
	return nil
}

func (p *page) describe(name string) {
	schema := p.schemas.byName[name]
	p.line("#### %s\n", name)
	p.text(plain(schema.Description))
	p.line("| field | type | sent | meaning |")
	p.line("| --- | --- | --- | --- |")
	for _, property := range schema.Properties {
		sent := ""
		if property.Required {
			sent = "always"
		}
		p.line("| `%s` | %s | %s | %s |", property.Name, property.Schema.link(), sent, cell(property.Schema))
	}
	p.line("")
}

// link is the name of a type for people, with a link where it has a table.
func (s Schema) link() string {
	text := s.String()
	for inner := &s; inner != nil; inner = either(inner.Items, inner.Values) {
		if inner.Ref != "" {
			return strings.Replace(text, inner.Ref, fmt.Sprintf("[%s](#%s)", inner.Ref, anchor(inner.Ref)), 1)
		}
	}
	return text
}

func either(a, b *Schema) *Schema {
	if a != nil {
		return a
	}
	return b
}

func subject(k messaging.Kind) string { return strings.ReplaceAll(k.Subject, "*", "<id>") }

func to(k messaging.Kind) string {
	if k.Group == "" {
		return k.To
	}
	return fmt.Sprintf("%s (queue group `%s`)", k.To, k.Group)
}

// anchor is what a heading of this text is linked by.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("`.<>*", r) {
			return -1
		}
		return r
	}, strings.ToLower(heading))
}

// cell is the meaning of a field, with the values that it can have unless the comment tells them.
func cell(s Schema) string {
	text := s.Description
	told := slices.ContainsFunc(s.Enum, func(value string) bool { return strings.Contains(text, value) })
	if len(s.Enum) > 0 && !told {
		text += ": " + strings.Join(s.Enum, ", ")
	}
	return strings.ReplaceAll(plain(text), "|", `\|`)
}

// plain keeps a placeholder such as <id> from being taken for HTML.
func plain(text string) string { return strings.ReplaceAll(text, "<", `\<`) }

// text writes a paragraph in lines of at most 120 characters.
func (p *page) text(paragraph string) {
	width := 0
	for i, word := range strings.Fields(paragraph) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+length > 120:
			p.out.WriteByte('\n')
			width = 0
		default:
			p.out.WriteByte(' ')
			width++
		}
		p.out.WriteString(word)
		width += length
	}
	p.out.WriteString("\n\n")
}

// Encode returns a message as JSON for people: as it is sent, but with "&" and the like as they are.
func Encode(message any) ([]byte, error) {
	if _, err := messaging.Subject[any]("example").Encode(message); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
