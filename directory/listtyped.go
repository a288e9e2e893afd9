package directory

import (
	"bytes"
	"encoding/json"
	"html/template"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A Listing is a directory as JSON.
type Listing struct {
	Entries []Entry `json:"entries"` // sorted bytewise by name
}

// An Entry is one of a directory; links are not followed.
type Entry struct {
	Name     string    `json:"name"`           // with U+FFFD in place of what is no UTF-8
	Raw      []byte    `json:"raw,omitempty"`  // the name as it is (base64), where it is no UTF-8
	Type     string    `json:"type"`           // "file", "directory", "link" or "other"
	Size     *int64    `json:"size,omitempty"` // in bytes, of files and links only
	Modified time.Time `json:"modified"`       // in UTC
}

func typed(entries []entry) Listing {
	l := Listing{Entries: make([]Entry, 0, len(entries))}
	for i := range entries {
		e := Entry{Name: entries[i].name, Modified: plausible(entries[i].modified)}
		if !utf8.ValidString(e.Name) {
			e.Raw = []byte(e.Name)
		}
		switch entries[i].mode & unix.S_IFMT {
		case unix.S_IFDIR:
			e.Type = "directory"
		case unix.S_IFREG:
			e.Type, e.Size = "file", &entries[i].size
		case unix.S_IFLNK:
			e.Type, e.Size = "link", &entries[i].size
		default:
			e.Type = "other"
		}
		l.Entries = append(l.Entries, e)
	}
	return l
}

// plausible keeps a time in the range of RFC 3339: an app may set any.
func plausible(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func listJSON(entries []entry) ([]byte, error) {
	body, err := json.Marshal(typed(entries))
	return append(body, '\n'), err
}

// page has no links: a signed URL is good for one path, and whoever serves it may know no key to sign others with.
var page = template.Must(template.New("listing").Funcs(template.FuncMap{
	"size": func(n int64) string { return string(appendSize(nil, n)) },
	"time": func(t time.Time) string { return t.Format(time.DateTime) },
}).Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body>
<h1>{{.Title}}</h1>
<table>
<tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr>
{{range .Entries -}}
<tr><td>{{.Name}}{{if eq .Type "directory"}}/{{end}}</td><td>{{if .Size}}{{size .Size}}{{else}}-{{end}}</td><td>{{time .Modified}}</td></tr>
{{end -}}
</table>
</body>
</html>
`))

func listHTML(entries []entry, title string) ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		Listing
		Title string
	}{typed(entries), title})
	return b.Bytes(), err
}
