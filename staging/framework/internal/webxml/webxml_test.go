package webxml_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/framework/internal/webxml"
)

func parse(t *testing.T, source string) *webxml.Document {
	t.Helper()
	d, err := webxml.Parse([]byte(source))
	require.NoError(t, err)
	return d
}

func TestTree(t *testing.T) {
	d := parse(t, `<?xml version="1.0"?>
<!DOCTYPE web-app PUBLIC "-//Sun//DTD Web Application 2.3//EN" "http://java.sun.com/dtd/web-app_2_3.dtd">
<web-app>
  <!-- <servlet/> -->
  <display-name> A
     <![CDATA[ < B ]]>&amp; C</display-name>
  <servlet/>
  <servlet id="2"><x xmlns="urn:other"><servlet/></x></servlet>
</web-app>`)
	assert.Equal(t, "web-app", d.Root.Name)
	assert.Equal(t, "A < B & C", d.Root.Child("display-name"))
	require.Len(t, d.Root.All("servlet"), 2)
	assert.Empty(t, d.Root.All("servlet")[1].Children, "an element of another namespace")
	assert.Nil(t, d.Root.First("filter"))
	assert.Empty(t, d.Root.Child("filter"))
	assert.False(t, d.Changed())
}

func TestEdits(t *testing.T) {
	node := webxml.Node{Name: "n", Children: []webxml.Node{{Name: "t", Text: "a<b"}}}
	first := func(name string, edit func(*webxml.Document, *webxml.Element)) func(*webxml.Document) {
		return func(d *webxml.Document) { edit(d, d.Root.First(name)) }
	}
	for name, test := range map[string]struct {
		in   string
		edit func(*webxml.Document)
		want string
	}{
		"before": {
			"<r>\n\t<a/>\n</r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.InsertBefore(e, node) }),
			"<r>\n\t<n>\n\t  <t>a&lt;b</t>\n\t</n>\n\t<a/>\n</r>",
		},
		"behind an empty tag": {
			"<r>\n  <a />\n</r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.InsertAfter(e, node) }),
			"<r>\n  <a />\n  <n>\n    <t>a&lt;b</t>\n  </n>\n</r>",
		},
		"two behind one": {
			"<r>\n  <a></a >\n</r>",
			first("a", func(d *webxml.Document, e *webxml.Element) {
				d.InsertAfter(e, webxml.Node{Name: "x"})
				d.InsertAfter(e, webxml.Node{Name: "y"})
			}),
			"<r>\n  <a></a >\n  <x></x>\n  <y></y>\n</r>",
		},
		"in an empty root": {
			"<r/>",
			func(d *webxml.Document) {
				d.Append(d.Root, webxml.Node{Name: "x"})
				d.Append(d.Root, webxml.Node{Name: "y"})
			},
			"<r>\n  <x></x>\n\n  <y></y>\n</r>",
		},
		"in a root without children": {
			"<r></r>",
			func(d *webxml.Document) { d.Append(d.Root, webxml.Node{Name: "x"}) },
			"<r>\n  <x></x>\n</r>",
		},
		"prefix": {
			`<j:r xmlns:j="urn:j"><j:a/></j:r>`,
			first("a", func(d *webxml.Document, e *webxml.Element) { d.InsertAfter(e, webxml.Node{Name: "x", Text: "1"}) }),
			`<j:r xmlns:j="urn:j"><j:a/>` + "\n" + `<j:x>1</j:x></j:r>`,
		},
		"text": {
			"<r><a>x\n </a></r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.AppendText(e, " y") }),
			"<r><a>x y\n </a></r>",
		},
		"text in an empty tag": {
			"<r><a/></r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.AppendText(e, "y&") }),
			"<r><a>y&amp;</a></r>",
		},
		"text behind CDATA": {
			"<r><a><![CDATA[x]]></a></r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.AppendText(e, " y") }),
			"<r><a><![CDATA[x]]> y</a></r>",
		},
		"bytes of another encoding": {
			"<?xml version='1.0' encoding='ISO-8859-1'?>\n<r><!-- caf\xe9 --><b>\xe9\xff</b><a/></r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.AppendText(e, "y") }),
			"<?xml version='1.0' encoding='ISO-8859-1'?>\n<r><!-- caf\xe9 --><b>\xe9\xff</b><a>y</a></r>",
		},
		"bytes of UTF-8": {
			"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n<r>\r\n<b>日本</b><a/></r>",
			first("a", func(d *webxml.Document, e *webxml.Element) { d.AppendText(e, "y") }),
			"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>\r\n<r>\r\n<b>日本</b><a>y</a></r>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, test.in)
			test.edit(d)
			assert.True(t, d.Changed())
			assert.Equal(t, test.want, string(d.Bytes()))
			parse(t, string(d.Bytes()))
		})
	}
}

func TestRefusedDocuments(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":         "",
		"text":            "web-app",
		"cut short":       "<a><b>",
		"crossed":         "<a><b></a></b>",
		"two roots":       "<a/><b/>",
		"entity bomb":     `<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>`,
		"external entity": `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`,
		"UTF-16":          `<?xml version="1.0" encoding="UTF-16"?><a/>`,
		"deep":            strings.Repeat("<a>", 1000),
		"many":            "<a>" + strings.Repeat("<b/>", 200_000) + "</a>",
		"large":           "<a>" + strings.Repeat(" ", webxml.MaxBytes) + "</a>",
		"wrong bytes":     "<a>\xff</a>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webxml.Parse([]byte(in))
			require.ErrorIs(t, err, webxml.ErrDocument)
		})
	}
}

func FuzzEdit(f *testing.F) {
	for _, in := range []string{
		"<a/>", "<a><b>x</b></a>", "<j:a xmlns:j='u'><j:b/></j:a>", "<?xml version='1.0' encoding='latin1'?><a><b>\xe9</b></a>",
		"<a x='/'><b/></a>", "<a><!-- --><b><![CDATA[]]></b></a>",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := webxml.Parse(data)
		if err != nil {
			return
		}
		if string(d.Bytes()) != string(data) {
			t.Fatal("nothing was changed, and something is different")
		}
		before := len(d.Root.All("added"))
		d.Append(d.Root, webxml.Node{Name: "added", Text: "x"})
		for _, child := range d.Root.Children {
			d.AppendText(child, " more")
			d.InsertBefore(child, webxml.Node{Name: "before"})
		}
		again, err := webxml.Parse(d.Bytes())
		if err != nil {
			t.Fatalf("%q became %q: %v", data, d.Bytes(), err)
		}
		if got := len(again.Root.All("added")); got != before+1 {
			t.Fatalf("%q became %q with %d elements", data, d.Bytes(), got)
		}
	})
}
