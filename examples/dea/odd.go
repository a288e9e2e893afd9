package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/droplet/dea/config"
)

// oddities are what a person should know of a configuration that can be used, here and now. cfg is nil where it cannot.
func oddities(cfg *config.Config, warnings []config.Warning) []string {
	var odd []string
	for _, w := range warnings {
		odd = append(odd, w.String())
	}
	if cfg == nil {
		return odd
	}
	say := func(found bool, format string, args ...any) {
		if found {
			odd = append(odd, fmt.Sprintf(format, args...))
		}
	}
	say(cfg.WardenSocket != "" && !exists(cfg.WardenSocket), "warden_socket: %s is not there; --backend auto takes another back end", cfg.WardenSocket)
	say(cfg.Deakit.GardenSocket != "" && !exists(cfg.Deakit.GardenSocket), "deakit.garden_socket: %s is not there", cfg.Deakit.GardenSocket)
	say(cfg.Loggregator != nil, "loggregator: is not used: lines of apps leave by deakit.log_emitters")
	say(cfg.SSL != nil && cfg.SSL.CAFile == "", "ssl.ca_file: is not given: whoever reaches the port can run programs here")
	say(!filepath.IsAbs(cfg.BaseDir), "base_dir: is relative to the directory in which the DEA is started")
	for key, file := range map[string]string{"pid_filename": cfg.PIDFilename, "logging.file": cfg.Logging.File} {
		say(file != "" && !exists(filepath.Dir(file)), "%s: the directory %s is not there", key, filepath.Dir(file))
	}
	_, err := catalogue(cfg.Deakit.Runtimes)
	say(err != nil, "%v", err)
	hooks := cfg.Hooks
	for key, file := range map[string]string{
		"before_start": hooks.BeforeStart, "after_start": hooks.AfterStart, "before_stop": hooks.BeforeStop, "after_stop": hooks.AfterStop,
	} {
		say(file != "" && !exists(file), "hooks.%s: %s is not there; it is skipped until it is", key, file)
	}
	return odd
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
