package webxml

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// The bounds of a document.
const (
	MaxBytes    = 4 << 20
	maxDepth    = 64
	maxElements = 100_000
)

// ErrDocument: it is no well-formed XML, or too large.
var ErrDocument = errors.New("the document cannot be read")

// An Element is a part of a document. Elements of other namespaces than that of the root are not among them.
type Element struct {
	Name     string // without prefix
	Children []*Element

	text   strings.Builder
	from   int // offset of "<"
	inside int // behind the start tag
	end    int // offset of the end tag; equal to inside where the element is one empty tag
	empty  bool
}

// Text is the text right in the element, with runs of white space as one blank.
func (e *Element) Text() string { return strings.Join(strings.Fields(e.text.String()), " ") }

// All returns the children of a name.
func (e *Element) All(name string) []*Element {
	var all []*Element
	for _, child := range e.Children {
		if child.Name == name {
			all = append(all, child)
		}
	}
	return all
}

// First returns the first child of a name; nil if there is none.
func (e *Element) First(name string) *Element {
	if all := e.All(name); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Child returns the text of the first child of a name; "" if there is none.
func (e *Element) Child(name string) string {
	if child := e.First(name); child != nil {
		return child.Text()
	}
	return ""
}

// A Document is XML that can be changed.
type Document struct {
	Root *Element

	source []byte
	prefix string // of elements, with the colon
	edits  []edit
}

// singleByte are the encodings in which a byte is a character. What is not ASCII is only carried along.
var singleByte = regexp.MustCompile(`^(?i)(us-)?ascii$|^(?i)(iso-?8859-?\d+|windows-125\d|latin\d)$`)

// Parse reads a document in UTF-8, or in one of the encodings with a byte for a character.
func Parse(source []byte) (*Document, error) {
	if len(source) > MaxBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrDocument, MaxBytes)
	}
	d := &Document{source: source}
	feed := &feeder{left: source}
	decoder := xml.NewDecoder(feed)
	decoder.CharsetReader = func(label string, input io.Reader) (io.Reader, error) {
		if !singleByte.MatchString(label) {
			return nil, fmt.Errorf("encoding %.40q; save it as UTF-8", label)
		}
		feed.masked = true // offsets stay what they are
		return input, nil
	}
	if err := d.parse(decoder); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	d.prefix = prefix(source[d.Root.from:])
	return d, nil
}

// A feeder hands out bytes one by one, since the encoding is known only when the first of them have been read.
type feeder struct {
	left   []byte
	masked bool // a question mark stands for each byte that is not ASCII
}

// ReadByte implements io.ByteReader, from which the decoder takes no more than it needs.
func (f *feeder) ReadByte() (byte, error) {
	if len(f.left) == 0 {
		return 0, io.EOF
	}
	b := f.left[0]
	f.left = f.left[1:]
	if f.masked && b >= 0x80 {
		b = '?'
	}
	return b, nil
}

func (f *feeder) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := f.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

func prefix(tag []byte) string {
	name, _, _ := strings.Cut(string(tag[1:min(len(tag), 256)]), ">")
	if at := strings.IndexAny(name, " \t\r\n/"); at >= 0 {
		name = name[:at]
	}
	if before, _, ok := strings.Cut(name, ":"); ok {
		return before + ":"
	}
	return ""
}

func (d *Document) parse(decoder *xml.Decoder) error {
	var open []*Element // nil for elements of other namespaces
	var space string
	elements := 0
	for {
		from := int(decoder.InputOffset())
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		at := int(decoder.InputOffset())
		switch token := token.(type) {
		case xml.StartElement:
			if elements++; elements > maxElements || len(open) >= maxDepth {
				return fmt.Errorf("it has more than %d elements, or more than %d levels", maxElements, maxDepth)
			}
			e := &Element{Name: token.Name.Local, from: from, inside: at, empty: d.source[at-2] == '/'}
			switch {
			case len(open) == 0 && d.Root != nil:
				return errors.New("it has two roots")
			case len(open) == 0:
				d.Root, space = e, token.Name.Space
			case token.Name.Space != space:
				e = nil
			case open[len(open)-1] != nil:
				parent := open[len(open)-1]
				parent.Children = append(parent.Children, e)
			}
			open = append(open, e)
		case xml.EndElement:
			if e := open[len(open)-1]; e != nil {
				e.end = from
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 && open[len(open)-1] != nil {
				open[len(open)-1].text.Write(token)
			}
		}
	}
	if d.Root == nil || len(open) > 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}
