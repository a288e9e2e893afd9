package runc

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container"
)

const (
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
	defaultLang = "en_US.UTF-8"
)

// environment composes the environment of a process: what the back end adds, then Spec.Env, then ProcessSpec.Env, later
// entries replacing earlier ones; nothing of our own.
func (c *box) environment(spec container.ProcessSpec, user account) ([]string, error) {
	env := []string{"HOME=" + user.home, "USER=" + user.name, "PATH=" + defaultPath, "LANG=" + defaultLang}
	at := map[string]int{"HOME": 0, "USER": 1, "PATH": 2, "LANG": 3}
	for _, list := range [][]string{c.env, spec.Env} {
		for n, entry := range list {
			name, _, found := strings.Cut(entry, "=")
			if !found || name == "" || strings.ContainsRune(entry, 0) {
				// Not its text, which may be a secret.
				return nil, fmt.Errorf("entry %d of the environment is not of the form NAME=value: %w", n, container.ErrInvalid)
			}
			if i, known := at[name]; known {
				env[i] = entry
				continue
			}
			at[name] = len(env)
			env = append(env, entry)
		}
	}
	return env, nil
}

// candidates are the paths at which a program may be. Relative directories in PATH are passed over.
func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	search := ""
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			search = value
		}
	}
	var list []string
	for _, dir := range filepath.SplitList(search) {
		if filepath.IsAbs(dir) {
			list = append(list, filepath.Join(dir, name))
		}
	}
	return list
}
