package protodoc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
)

// Comments are the doc comments of Go types, by name.
type Comments map[string]TypeComment

// A TypeComment is what the source says of a type.
type TypeComment struct {
	Text   string
	Fields map[string]string // by Go name: the comment above the field and the one beside it
}

// ReadComments reads the Go files of a directory, tests left out.
func ReadComments(dir string) (Comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	comments := Comments{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		comments.add(file)
	}
	if len(comments) == 0 {
		return nil, fmt.Errorf("read comments: no Go types in %s", dir)
	}
	return comments, nil
}

func (c Comments) add(file *ast.File) {
	for _, decl := range file.Decls {
		types, ok := decl.(*ast.GenDecl)
		if !ok || types.Tok != token.TYPE {
			continue
		}
		for _, spec := range types.Specs {
			spec := spec.(*ast.TypeSpec)
			comment := TypeComment{Text: text(types.Doc, spec.Doc, spec.Comment), Fields: map[string]string{}}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						comment.Fields[name.Name] = text(field.Doc, field.Comment)
					}
				}
			}
			c[spec.Name.Name] = comment
		}
	}
}

var link = regexp.MustCompile(`\[(\w+)\]`)

// text joins comments to one line without the marks of links.
func text(groups ...*ast.CommentGroup) string {
	var words []string
	for _, group := range groups {
		words = append(words, strings.Fields(group.Text())...)
	}
	return link.ReplaceAllString(strings.Join(words, " "), "$1")
}
