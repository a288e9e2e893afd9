package supervisor

import (
	"fmt"
	"strings"
)

// A token is a word of monit's language.
type token struct {
	text   string
	quoted bool
	line   int
}

// tokenize splits at blanks, outside of quotes; what follows a "#" is left out. "=", "," and parentheses are blanks.
func tokenize(text string) ([]token, error) {
	var tokens []token
	line := 1
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\n':
			line++
			i++
		case strings.IndexByte(" \t\r=,()", c) >= 0:
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"' || c == '\'':
			length := strings.IndexByte(text[i+1:], c)
			if length < 0 {
				return nil, fmt.Errorf("monit file, line %d: a quote is not closed", line)
			}
			value := text[i+1 : i+1+length]
			tokens = append(tokens, token{value, true, line})
			line += strings.Count(value, "\n")
			i += length + 2
		default:
			begin := i
			for i < len(text) && strings.IndexByte(" \t\r\n=,()\"'", text[i]) < 0 {
				i++
			}
			tokens = append(tokens, token{text[begin:i], false, line})
		}
	}
	return tokens, nil
}

// splitCommand splits at blanks, outside of quotes. It returns nothing for a quote that is not closed.
func splitCommand(text string) []string {
	var args []string
	var arg strings.Builder
	inside, quote := false, rune(0)
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inside = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if inside {
				args = append(args, arg.String())
				arg.Reset()
			}
			inside = false
		default:
			arg.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 {
		return nil
	}
	if inside {
		args = append(args, arg.String())
	}
	return args
}
