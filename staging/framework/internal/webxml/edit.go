package webxml

import (
	"bytes"
	"encoding/xml"
	"slices"
	"strings"
)

// An edit puts a text in the place of a part of the source.
type edit struct {
	from, to int
	text     string
}

// A Node is an element to be put into a document.
type Node struct {
	Name     string
	Text     string
	Children []Node
}

// Changed tells whether anything was changed.
func (d *Document) Changed() bool { return len(d.edits) > 0 }

// Bytes returns the document with all changes.
func (d *Document) Bytes() []byte {
	edits := slices.Clone(d.edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return a.from - b.from })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(d.source[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.Write(d.source[at:])
	return out.Bytes()
}

// AppendText puts a text behind that of an element, before the white space at its end.
func (d *Document) AppendText(e *Element, text string) {
	if e.empty {
		d.fill(e, escape(text))
		return
	}
	at := e.inside + len(bytes.TrimRight(d.source[e.inside:e.end], " \t\r\n"))
	d.edits = append(d.edits, edit{at, at, escape(text)})
}

// fill makes an empty tag an element with a content, or adds to that.
func (d *Document) fill(e *Element, content string) {
	closing := "</" + d.prefix + e.Name + ">"
	for i, made := range d.edits {
		if made.from == e.inside-2 && made.to == e.inside {
			d.edits[i].text = strings.TrimSuffix(made.text, closing) + content + closing
			return
		}
	}
	d.edits = append(d.edits, edit{e.inside - 2, e.inside, ">" + content + closing})
}

// InsertBefore puts an element before another one.
func (d *Document) InsertBefore(e *Element, n Node) {
	indent := d.indent(e)
	d.edits = append(d.edits, edit{e.from, e.from, d.render(n, indent) + indent})
}

// InsertAfter puts an element behind another one. Of several, the first one stands first.
func (d *Document) InsertAfter(e *Element, n Node) {
	at := e.end
	if e.empty {
		at = e.inside
	} else if closing := bytes.IndexByte(d.source[e.end:], '>'); closing >= 0 {
		at = e.end + closing + 1
	}
	indent := d.indent(e)
	d.edits = append(d.edits, edit{at, at, indent + d.render(n, indent)})
}

// Append puts an element behind the children of another one.
func (d *Document) Append(parent *Element, n Node) {
	if children := parent.Children; len(children) > 0 {
		d.InsertAfter(children[len(children)-1], n)
		return
	}
	indent := d.indent(parent)
	content := indent + "  " + d.render(n, indent+"  ") + indent
	if parent.empty {
		d.fill(parent, content)
		return
	}
	d.edits = append(d.edits, edit{parent.end, parent.end, content})
}

// indent is the line break and the white space before an element.
func (d *Document) indent(e *Element) string {
	before := d.source[:e.from]
	space := before[len(bytes.TrimRight(before, " \t")):]
	return "\n" + string(space)
}

func (d *Document) render(n Node, indent string) string {
	var b strings.Builder
	b.WriteString("<" + d.prefix + n.Name + ">" + escape(n.Text))
	for _, child := range n.Children {
		b.WriteString(indent + "  " + d.render(child, indent+"  "))
	}
	if len(n.Children) > 0 {
		b.WriteString(indent)
	}
	b.WriteString("</" + d.prefix + n.Name + ">")
	return b.String()
}

// escape writes a text in ASCII, which is right in all encodings that Parse takes.
func escape(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder does not fail
	return out.String()
}
