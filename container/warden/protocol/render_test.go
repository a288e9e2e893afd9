package protocol_test

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func protoName(s string) protoreflect.Name { return protoreflect.Name(s) }

var (
	comments = regexp.MustCompile(`(?m)//.*$`)
	blanks   = regexp.MustCompile(`\s+`)
)

// normal is the text of a .proto file without what does not matter.
func normal(text string) []string {
	text = comments.ReplaceAllString(text, "")
	text = blanks.ReplaceAllString(text, " ")
	var lines []string
	for _, line := range regexp.MustCompile(`[;{}]`).Split(text, -1) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// render writes a descriptor as the .proto file that it came from, in the same order.
func render(file protoreflect.FileDescriptor) string {
	var b strings.Builder
	fmt.Fprintf(&b, "syntax = %q;\npackage %s;\n", file.Syntax().String(), file.Package())
	fmt.Fprintf(&b, "option go_package = %q;\n", file.Options().(*descriptorpb.FileOptions).GetGoPackage())
	renderMessages(&b, file.Messages())
	return b.String()
}

func renderMessages(b *strings.Builder, messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		fmt.Fprintf(b, "message %s {\n", m.Name())
		for j := range m.Enums().Len() {
			e := m.Enums().Get(j)
			fmt.Fprintf(b, "enum %s {\n", e.Name())
			for k := range e.Values().Len() {
				fmt.Fprintf(b, "%s = %d;\n", e.Values().Get(k).Name(), e.Values().Get(k).Number())
			}
			b.WriteString("}\n")
		}
		renderMessages(b, m.Messages())
		for j := range m.Fields().Len() {
			renderField(b, m.Fields().Get(j))
		}
		b.WriteString("}\n")
	}
}

func renderField(b *strings.Builder, f protoreflect.FieldDescriptor) {
	kind := f.Kind().String()
	switch f.Kind() {
	case protoreflect.MessageKind:
		kind = string(f.Message().Name())
	case protoreflect.EnumKind:
		kind = string(f.Enum().Name())
	}
	fmt.Fprintf(b, "%s %s %s = %d", f.Cardinality(), kind, f.Name(), f.Number())
	if f.HasDefault() {
		fmt.Fprintf(b, " [default = %v]", f.Default().Interface())
	}
	b.WriteString(";\n")
}
