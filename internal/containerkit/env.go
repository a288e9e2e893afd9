package containerkit

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/container"
)

// DefaultEnv is the environment that processes have without being given one, but for HOME and USER.
func DefaultEnv() []string { return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8"} }

// CheckEnv returns container.ErrInvalid unless all entries are of the form NAME=value.
func CheckEnv(env []string) error {
	for n, entry := range env {
		if name, _, found := strings.Cut(entry, "="); !found || name == "" || strings.ContainsRune(entry, 0) {
			// Not its text, which may be a secret.
			return fmt.Errorf("entry %d of the environment is not of the form NAME=value: %w", n, container.ErrInvalid)
		}
	}
	return nil
}

// MergeEnv joins environments; of entries with one name the last one stays, in the place of the first.
func MergeEnv(lists ...[]string) []string {
	at := map[string]int{}
	var all []string
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, known := at[name]; known {
				all[i] = entry
				continue
			}
			at[name] = len(all)
			all = append(all, entry)
		}
	}
	return all
}
