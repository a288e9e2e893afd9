package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/droplet/dea/config"
)

// oddities are what a person should know of a configuration that can be used, here and now. cfg is nil where it cannot.
func (c *cli) oddities(cfg *config.FileServer, warnings []config.Warning) []string {
	var odd []string
	for _, w := range warnings {
		odd = append(odd, w.String())
	}
	if cfg == nil {
		return odd
	}
	if c.AsRoot && os.Geteuid() != 0 {
		odd = append(odd, fmt.Sprintf("--as-root changes nothing: this is user %d, who is not root", os.Geteuid()))
	}
	if file := cfg.Log().File; file != "" {
		if err := writable(file); err != nil {
			odd = append(odd, fmt.Sprintf("directory_server.logging.file: %s cannot be written: %v", file, err))
		}
	}
	return odd
}

// writable tells why this process could not append to a file, which it leaves as it is.
func writable(file string) error {
	err := unix.Access(file, unix.W_OK)
	if err == unix.ENOENT {
		err = unix.Access(filepath.Dir(file), unix.W_OK)
	}
	return err
}
