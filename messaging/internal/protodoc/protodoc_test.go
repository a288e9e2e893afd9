package protodoc_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/internal/protodoc"
)

var update = flag.Bool("update", false, "write the documents instead of comparing them")

// comments of package messaging.
func comments(t testing.TB) protodoc.Comments {
	t.Helper()
	c, err := protodoc.ReadComments("../..")
	require.NoError(t, err)
	return c
}

func TestDocumentsAreCurrent(t *testing.T) {
	for name, render := range map[string]func([]messaging.Kind, protodoc.Comments) ([]byte, error){
		"protocol.md":   protodoc.Markdown,
		"asyncapi.yaml": protodoc.AsyncAPI,
	} {
		want, err := render(messaging.Kinds(), comments(t))
		require.NoError(t, err)
		path := filepath.Join("../../../docs", name)
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o644))
			continue
		}
		have, err := os.ReadFile(path)
		require.NoError(t, err)
		if string(have) != string(want) {
			t.Errorf("docs/%s is not what the code says; renew it: go test ./messaging/internal/protodoc -update", name)
		}
	}
}

// Every subject that package messaging names is in the catalogue.
func TestCatalogueIsComplete(t *testing.T) {
	files, err := filepath.Glob("../../*.go")
	require.NoError(t, err)
	named := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !isSubject(spec.Type) {
				return true
			}
			for i, value := range spec.Values {
				subject, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				require.NoError(t, err)
				kind, found := messaging.KindOf(subject)
				assert.True(t, found && kind.Subject == subject, "%s (%s)", spec.Names[i], subject)
				named++
			}
			return true
		})
	}
	assert.Equal(t, len(messaging.Kinds())-8, named,
		"all but dea.*.start, staging.*.start, vcap.stager.*, deakit.logs.*, agent.* and hm.agent.*.* have a constant")
}

// isSubject tells whether a type is Subject[...] or Query[...].
func isSubject(expr ast.Expr) bool {
	switch generic := expr.(type) {
	case *ast.IndexExpr:
		return generic.X.(*ast.Ident).Name == "Subject"
	case *ast.IndexListExpr:
		return generic.X.(*ast.Ident).Name == "Query"
	}
	return false
}

// A reader of the tables learns what every field means.
func TestEveryTypeAndFieldIsExplained(t *testing.T) {
	said := comments(t)
	var check func(t *testing.T, typ reflect.Type)
	check = func(t *testing.T, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			check(t, typ.Elem())
		case reflect.Struct:
			name := typ.Name()
			if !strings.HasPrefix(typ.PkgPath(), "github.com/deakit/") || bytes.ContainsRune([]byte(name), '[') {
				return
			}
			assert.NotEmpty(t, said[name].Text, name)
			for i := range typ.NumField() {
				field := typ.Field(i)
				if !field.Anonymous {
					assert.NotEmpty(t, said[name].Fields[field.Name], "%s.%s", name, field.Name)
				}
				check(t, field.Type)
			}
		}
	}
	for _, kind := range messaging.Kinds() {
		check(t, reflect.TypeOf(kind.Example))
		for _, answer := range kind.Answers {
			check(t, reflect.TypeOf(answer))
		}
		assert.NotEmpty(t, kind.Purpose, kind.Subject)
		assert.NotEmpty(t, kind.Era, kind.Subject)
	}
	check(t, reflect.TypeFor[messaging.StagingAnswer]())
}

func TestCommentsOfWhatIsNoSource(t *testing.T) {
	_, err := protodoc.ReadComments(t.TempDir())
	assert.ErrorContains(t, err, "no Go types")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.go"), []byte("package"), 0o644))
	_, err = protodoc.ReadComments(dir)
	assert.ErrorContains(t, err, "x.go")
}

// A message that could not be sent does not get into the documents.
func TestBadExampleIsRefused(t *testing.T) {
	kinds := messaging.Kinds()
	kinds[0].Example = messaging.Advertisement{}
	_, err := protodoc.Markdown(kinds, comments(t))
	var refused *messaging.MessageError
	assert.ErrorAs(t, err, &refused)
	_, err = protodoc.AsyncAPI(kinds, comments(t))
	assert.ErrorAs(t, err, &refused)
	kinds[0].Example = struct{ C chan int }{}
	_, err = protodoc.AsyncAPI(kinds, comments(t))
	assert.ErrorContains(t, err, "chan int")
}
