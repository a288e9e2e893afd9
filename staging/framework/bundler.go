package framework

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/words"
)

// A lockfile is what a Gemfile.lock says about gems. Groups do not stand in it: those that are left out are in it, too.
type lockfile struct {
	versions map[string]string // by name of the gem
	files    []string          // names of gem files without ".gem"
}

// lockedGem is a gem in a list of specs; what it depends on is indented deeper.
var lockedGem = regexp.MustCompile(`^ {4}([A-Za-z0-9_.-]+) \(([A-Za-z0-9_.-]+)\)$`)

// parseLockfile reads what it understands.
func parseLockfile(data []byte) *lockfile {
	l := &lockfile{versions: map[string]string{}}
	section := ""
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), " \r")
		if line != "" && line[0] != ' ' {
			section = line
		}
		if m := lockedGem.FindStringSubmatch(line); m != nil {
			l.versions[m[1]] = m[2]
			if section == "GEM" {
				l.files = append(l.files, m[1]+"-"+m[2])
			}
		}
	}
	return l
}

func (l *lockfile) has(gem string) bool { return l != nil && l.versions[gem] != "" }

// install sees to the gems of the bundle. Those in vendor/cache and in Options.Gems are installed into the app when its
// program runs; with neither, the app has to do with the gems of the runtime. An app that brings installed gems along
// (vendor/bundle) is left as it is.
func (r *rubyApp) install(exclude string) error {
	if r.Has("app/vendor/bundle/" + r.lib) {
		r.bundled = true
		return nil
	}
	added, err := r.addGems()
	if err != nil {
		return err
	}
	cached, err := fs.Glob(r.FS(), "app/vendor/cache/*")
	if err != nil {
		return err
	}
	r.bundled = r.Options.Original || added || len(cached) > 0
	if err := r.Write("app/.bundle/config", r.bundleConfig(exclude), 0o644); err != nil {
		return err
	}
	if !r.bundled {
		r.Log("No gems in vendor/cache, and none in the cache of the stager: the app uses the gems of the runtime.")
		return nil
	}
	r.Run(Program{
		Dir:     "app",
		Script:  fmt.Sprintf("%s %s install --local && rm -rf %s/cache", rt, r.bundler(), r.gemDir()),
		Failure: "Failed installing gems. Please put all of them into vendor/cache with bundle package",
	})
	return nil
}

// addGems puts those gem files into vendor/cache that the stager has and the app lacks.
func (r *rubyApp) addGems() (added bool, err error) {
	if r.Options.Gems == "" {
		return false, nil
	}
	gems, err := os.OpenRoot(r.Options.Gems)
	if err != nil {
		return false, fmt.Errorf("gems of the stager: %w", err)
	}
	defer gems.Close()
	for _, name := range r.bundle.files {
		file := name + ".gem"
		to := "app/vendor/cache/" + file
		if info, err := gems.Stat(file); err != nil || !info.Mode().IsRegular() || r.Has(to) {
			continue
		}
		r.Log("Adding %s to app...", file)
		if err := r.copyFile(gems, file, to); err != nil {
			return false, fmt.Errorf("gems of the stager: %w", err)
		}
		added = true
	}
	return added, nil
}

// bundleConfig is the configuration of Bundler in the app. The path is relative, so that it is right where the app runs.
func (r *rubyApp) bundleConfig(exclude string) string {
	if without, ok := r.variable("BUNDLE_WITHOUT"); ok {
		exclude = strings.TrimSpace(without)
	}
	config := "---\n"
	if r.bundled {
		config += "BUNDLE_PATH: rubygems\nBUNDLE_DISABLE_SHARED_GEMS: \"1\"\n"
	}
	if exclude != "" {
		if !plainGroups.MatchString(exclude) {
			exclude = strconv.Quote(exclude)
		}
		config += "BUNDLE_WITHOUT: " + exclude + "\n"
	}
	return config
}

var plainGroups = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_:]*$`)

// installAutoconfig adds the gems that configure the app, if the stager has them.
func (r *rubyApp) installAutoconfig(ctx context.Context) (bool, error) {
	if !r.bundled || !r.hasResources(autoconfigGems) {
		if r.Options.Resources != "" {
			r.Log("Auto-reconfiguration disabled because the stager does not have its gems.")
		}
		return false, nil
	}
	var steps []string
	for _, gem := range autoconfigGems {
		file := path.Join(r.gemDir(), "cache", gem+".gem")
		if err := r.CopyResource(ctx, gem+".gem", "app/"+file); err != nil {
			return false, err
		}
		steps = append(steps, fmt.Sprintf("%s -S gem install --local --ignore-dependencies --install-dir %s %s", rt, r.gemDir(), words.Quote(file)))
	}
	r.Run(Program{
		Dir: "app", Script: strings.Join(append(steps, "rm -rf "+r.gemDir()+"/cache"), " && "),
		Failure: "Failed installing gems for auto-reconfiguration",
	})
	gemfile, _, err := r.Read("app/Gemfile")
	if err != nil {
		return false, err
	}
	return true, r.Rewrite("app/Gemfile", string(gemfile)+"\ngem \"cf-autoconfig\"\n")
}

func (t *Tree) hasResources(gems []string) bool {
	for _, gem := range gems {
		if t.resource(gem+".gem") == "" {
			return false
		}
	}
	return true
}

// resource returns the name of what Options.Resources has under a pattern, the first one; "" if there is none.
func (t *Tree) resource(pattern string) string {
	if t.Options.Resources == "" {
		return ""
	}
	root, err := os.OpenRoot(t.Options.Resources)
	if err != nil {
		return ""
	}
	defer root.Close()
	names, err := fs.Glob(root.FS(), pattern)
	if err != nil || len(names) == 0 {
		return ""
	}
	return names[0]
}
