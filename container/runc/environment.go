package runc

import (
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// environment composes the environment of a process: what the back end adds, then Spec.Env, then ProcessSpec.Env, later
// entries replacing earlier ones; nothing of our own.
func (c *box) environment(spec container.ProcessSpec, user account) []string {
	return containerkit.MergeEnv([]string{"HOME=" + user.home, "USER=" + user.name}, containerkit.DefaultEnv(), c.env, spec.Env)
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
