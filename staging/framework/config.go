package framework

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/staging/framework/internal/loose"
)

// ErrArguments: a task names directories that are not there, or are not as they must be. Its text is that of the original.
var ErrArguments = errors.New("Invalid arguments for staging")

// Config is the configuration file of a plugin run.
type Config struct {
	Source     string // directory of the app, source_dir
	Dest       string // empty directory for the droplet, dest_dir
	Properties Properties
	UID, GID   int // secure_user, accepted and without effect here; -1 means that there is none
}

// ParseConfig reads a configuration from YAML or JSON. It does not look at the directories: Stage does.
func ParseConfig(data []byte) (Config, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration of staging: %w", err)
	}
	c := Config{Source: v.Get("source_dir").Text(), Dest: v.Get("dest_dir").Text(), UID: -1, GID: -1}
	for _, key := range []string{"source_dir", "dest_dir", "environment"} {
		if v.Get(key).Kind() == loose.Null {
			return Config{}, fmt.Errorf("read configuration of staging: %w: %s is missing", ErrArguments, key)
		}
	}
	if c.Properties, err = decodeProperties(v.Get("environment")); err != nil {
		return Config{}, fmt.Errorf("read configuration of staging: environment: %w", err)
	}
	if user := v.Get("secure_user"); user.Kind() == loose.Map {
		uid, ok := user.Get("uid").Int()
		if !ok {
			return Config{}, fmt.Errorf("read configuration of staging: secure_user.uid is missing, or no integer")
		}
		c.UID = uid
		if gid, ok := user.Get("gid").Int(); ok {
			c.GID = gid
		}
	}
	return c, nil
}

// Platform is the file that the variable PLATFORM_CONFIG names: what all stagings of a machine share.
type Platform struct {
	Cache        string // directory of gems and modules; below it, blessed_gems holds gem files
	InsightAgent string // accepted, and without effect here
}

// ParsePlatform reads a Platform from YAML.
func ParsePlatform(data []byte) (Platform, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return Platform{}, fmt.Errorf("read platform configuration: %w", err)
	}
	return Platform{Cache: v.Get("cache").Text(), InsightAgent: v.Get("insight_agent").Text()}, nil
}

// checkDirectory fails with ErrArguments unless there is a directory.
func checkDirectory(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrArguments, err)
	case !info.IsDir():
		return fmt.Errorf("%w: %s is no directory", ErrArguments, name)
	}
	return nil
}

// checkEmpty fails with ErrArguments unless a directory is empty: what is there would be a part of the droplet.
func checkEmpty(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArguments, err)
	}
	defer dir.Close()
	switch found, err := dir.Readdirnames(1); {
	case len(found) > 0:
		return fmt.Errorf("%w: the directory for the droplet is not empty: %s", ErrArguments, name)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrArguments, err)
	}
	return nil
}
