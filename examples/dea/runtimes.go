package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// maxCatalogue bounds the file of runtimes.
const maxCatalogue = 1 << 20

// catalogue returns the runtimes that the DEA offers to droplets from before there were buildpacks.
func catalogue(cfg config.Runtimes) (runtimes.Catalogue, error) {
	if cfg.Catalogue == "" {
		return runtimes.Today(), nil
	}
	c, err := readCatalogue(cfg.Catalogue)
	if err != nil {
		return nil, fmt.Errorf("deakit.runtimes.catalogue: %w", err)
	}
	return c, nil
}

func readCatalogue(name string) (runtimes.Catalogue, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCatalogue+1))
	if err == nil && len(data) > maxCatalogue {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c, err := runtimes.ParseCatalogue(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}
