// Package words splits texts into words as a shell does, and quotes words so that a shell reads them as they are.
package words

import (
	"errors"
	"regexp"
	"strings"
)

// ErrQuote: a quotation is not closed.
var ErrQuote = errors.New("a quotation mark is not closed")

// Split splits a text at white space. Quotation marks and backslashes mean what they mean to a POSIX shell; nothing is
// expanded.
func Split(text string) ([]string, error) {
	var all []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", r) {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				all = append(all, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, ErrQuote
	}
	if inWord {
		all = append(all, word.String())
	}
	return all, nil
}

// plain are words that need no quotation marks.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.,:+/@%=-]+$`)

// Quote returns the word for a shell.
func Quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Join quotes words and puts blanks between them.
func Join(all []string) string {
	quoted := make([]string, len(all))
	for i, word := range all {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}
