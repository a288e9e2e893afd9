package main

import (
	"os"
	"path/filepath"

	"github.com/deakit/deakit/examples/internal/backends"
)

type doctorCmd struct {
	Backend string `help:"What buildpacks and apps would run in: ${enum}." enum:"${backends}" default:"auto"`
}

func (c *doctorCmd) Run(e *env) error {
	return backends.Doctor(e.ctx, e.out, c.Backend, anyContainers())
}

// anyContainers is a place for containers on which it does not depend which back end works.
func anyContainers() backends.Config {
	return backends.Config{Depot: filepath.Join(os.TempDir(), workPrefix+"doctor", "containers"), Fresh: true}
}
