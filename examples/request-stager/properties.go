package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/staging/framework"
)

// properties are what the request tells of the app: those of the file, or those that the options say.
func (c *cli) properties(app *os.File) (json.RawMessage, error) {
	if c.Properties != "" {
		return readProperties(c.Properties)
	}
	manifest, err := c.manifest(app)
	if err != nil {
		return nil, err
	}
	runtime := c.Runtime
	if runtime == "" && len(manifest.Runtimes) > 0 {
		runtime = manifest.Runtimes[0]
	}
	runtimes := []map[string]any{}
	for i, name := range manifest.Runtimes {
		runtimes = append(runtimes, map[string]any{name: map[string]bool{"default": i == 0}})
	}
	return json.Marshal(map[string]any{
		"services": []any{}, "environment": c.Env, "meta": map[string]string{"command": c.Command},
		"framework_info": map[string]any{"name": manifest.Name, "runtimes": runtimes, "detection": detection(manifest.Detection)},
		"runtime_info":   map[string]string{"name": runtime},
		"resources":      map[string]int{"memory": c.Memory, "disk": c.Disk, "fds": c.FDs},
	})
}

// detection are the rules as requests have them.
func detection(rules framework.Rules) []map[string]any {
	all := []map[string]any{}
	for _, rule := range rules {
		var what any = rule.Present
		if rule.Pattern != "" {
			what = rule.Pattern
		}
		all = append(all, map[string]any{rule.Glob: what})
	}
	return all
}

// manifest is that of the framework that was named, or that the app shows.
func (c *cli) manifest(app *os.File) (framework.Manifest, error) {
	all := framework.Manifests()
	name := c.Framework
	if name == "" {
		var err error
		if name, err = detect(app, all); err != nil {
			return framework.Manifest{}, err
		}
	}
	i := slices.IndexFunc(all, func(m framework.Manifest) bool { return m.Name == name })
	if i < 0 {
		return framework.Manifest{Name: name}, nil // the stager knows whether there is one
	}
	return all[i], nil
}

func detect(app *os.File, all []framework.Manifest) (string, error) {
	info, err := app.Stat()
	if err != nil {
		return "", err
	}
	files, err := zip.NewReader(app, info.Size())
	if err != nil {
		return "", fmt.Errorf("the app is no zip file: %w", err)
	}
	names, err := framework.Detect(fs.FS(files), all)
	switch {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "", errors.New("the app shows no framework; name one: --framework standalone --command 'what starts it', for example")
	case len(names) > 1:
		return "", fmt.Errorf("the app may be one of several frameworks; name one: --framework %s", strings.Join(names, ", or "))
	}
	return names[0], nil
}

// readProperties reads a file in YAML or JSON: properties, or a configuration file of a plugin, whose environment they are.
func readProperties(name string) (json.RawMessage, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--properties: %w", err)
	}
	var content map[string]any
	if err := yaml.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("--properties: %s: %w", name, err)
	}
	if inner, ok := content["environment"].(map[string]any); ok && content["source_dir"] != nil {
		content = inner
	}
	wire, err := json.Marshal(content)
	if err == nil {
		_, err = framework.ParseProperties(wire)
	}
	if err != nil {
		return nil, fmt.Errorf("--properties: %s: %w", name, err)
	}
	return wire, nil
}
