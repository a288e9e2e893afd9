package buildpack

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

const maxLayers = 500 // of one buildpack

// Prepare implements [Buildpack]. There is nothing to do.
func (c *CNB) Prepare(context.Context, Build) error { return nil }

// Compile runs bin/build of the buildpacks, one after the other, and leaves in the root of the droplet the app, the layers for
// launch, and the script that starts processes. Where Detect was not called, it finds the group first. It fails with a
// [*ScriptError], which wraps ErrNotDetected where there is no group, and a [*CNBFileError] where a buildpack has written
// something that cannot be used.
func (c *CNB) Compile(ctx context.Context, b Build) error {
	if c.build == nil || c.build.Container.Handle() != b.Container.Handle() {
		c.build = nil
		s, err := c.begin(ctx, b)
		if err != nil {
			return err
		}
		if err := s.detect(ctx); errors.Is(err, ErrNotDetected) {
			return &ScriptError{Script: script("detect"), Err: err}
		} else if err != nil {
			return err
		}
		c.build = s
	}
	if err := c.build.compile(ctx); err != nil {
		c.build = nil
		return err
	}
	return nil
}

// Release tells the processes of the launch.toml files. Each command calls the script that Compile has made; the type web is the
// process of that type, else the default, else the only one. Other start commands are run through the script too, since it is
// the entrypoint prefix.
func (c *CNB) Release(_ context.Context, b Build) (Release, error) {
	s := c.build
	if s == nil || s.Container.Handle() != b.Container.Handle() {
		return Release{}, errors.New("buildpack: Release was called before Compile")
	}
	release := Release{Name: s.name(), EntrypointPrefix: cnb.LaunchPrefix, ProcessTypes: map[string]string{}}
	for _, p := range s.launch.Processes {
		release.ProcessTypes[p.Type] = cnb.StartCommand(p.Type)
	}
	if s.web != "" {
		release.ProcessTypes["web"] = cnb.StartCommand(s.web)
	}
	for _, p := range s.group() {
		release.Buildpacks = append(release.Buildpacks, droplet.BuildpackInfo{Key: p.key, Name: p.ID, Version: p.Version})
	}
	return release, nil
}

// A builtPack is a buildpack of the group with what it left.
type builtPack struct {
	cnbPack
	layersDir string
	layers    map[string]cnb.Layer
	tree      cnb.Tree // of layersDir
	store     []byte   // store.toml for the next build
}

// fault makes an error of the buildpack of what is wrong with its files; trouble with the container stays what it is.
func (p *builtPack) fault(err error) error {
	var file *cnb.FileError
	if errors.As(err, &file) || errors.Is(err, cnb.ErrTooLarge) {
		return &ScriptError{Script: p.program(), Err: err}
	}
	return err
}

func (p *builtPack) program() string { return script("build") + " of " + p.String() }

func (s *cnbBuild) compile(ctx context.Context) error {
	var packs []*builtPack
	for _, p := range s.group() {
		packs = append(packs, &builtPack{cnbPack: p, layersDir: path.Join(cnbLayers, cnb.Escape(p.ID))})
	}
	kept, err := s.restore(ctx, packs)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Log, "===> BUILDING")
	entries := s.found.Entries
	var processes cnb.Processes
	for _, p := range packs {
		wanted := cnb.For(entries, p.ID)
		if err := s.runBuild(ctx, p, wanted); err != nil {
			return err
		}
		if err := s.takeLayers(ctx, p); err != nil {
			return p.fault(err)
		}
		met, started, err := p.outputs(wanted)
		if err != nil {
			return p.fault(err)
		}
		entries = cnb.Without(entries, met)
		if lost := processes.Add(started); lost != "" {
			fmt.Fprintf(s.Log, "Warning: %v redefines the default process type %s without being the default\n", p, lost)
		}
	}
	s.launch.Processes, s.web = processes.List(), processes.Web()
	if s.web == "" {
		fmt.Fprintln(s.Log, "Warning: no buildpack says which process to start: there is no type web, and no default")
	}
	return s.finish(ctx, packs, kept)
}

// runBuild runs bin/build of one buildpack, which is to provide what is wanted.
func (s *cnbBuild) runBuild(ctx context.Context, p *builtPack, wanted []cnb.Require) error {
	text, err := cnb.BuildPlan(wanted)
	if err != nil {
		return err
	}
	plan := path.Join(cnbPlans, cnb.Escape(p.ID)+".toml")
	if err := containerfs.WriteFiles(ctx, s.Container, cnbPlans, containerfs.Text(path.Base(plan), text)); err != nil {
		return err
	}
	if err := containerfs.WriteFiles(ctx, s.Container, p.layersDir); err != nil {
		return err
	}
	spec := container.ProcessSpec{
		Path: s.Info.Inside(path.Join(p.dir, script("build"))), Args: s.inside(p.layersDir, cnbPlatform, plan), Dir: s.AppDir,
		Env: s.programEnv(p.Descriptor, p.dir, cnb.Env{
			"CNB_LAYERS_DIR": p.layersDir, "CNB_PLATFORM_DIR": cnbPlatform, "CNB_BP_PLAN_PATH": plan,
		}),
	}
	status, err := runProgram(ctx, s.Build, p.program(), spec, container.IO{Stdout: s.Log, Stderr: s.stderr()})
	if err == nil && status != 0 {
		err = &ScriptError{Script: p.program(), Status: status}
	}
	return err
}

// takeLayers reads what the buildpack says of its layers, hides those that are for nobody else, and lets those for the build
// change the environment of later buildpacks.
func (s *cnbBuild) takeLayers(ctx context.Context, p *builtPack) error {
	trees, err := s.list(ctx, p.layersDir)
	if err != nil {
		return err
	}
	p.tree = trees[0]
	if p.layers, err = p.readLayers(); err != nil {
		return err
	}
	var ignored []string
	for _, name := range p.names(func(l cnb.Layer) bool { return true }) {
		node, there := p.tree[name]
		switch layer := p.layers[name]; {
		case !there:
		case layer.Ignored():
			ignored = append(ignored, path.Join(p.layersDir, name))
		case !node.Dir || node.Link:
			return &cnb.FileError{File: name + " of " + p.String(), Err: errors.New("a layer must be a directory, and no link to one")}
		case layer.Build:
			changes, err := p.tree.BuildChanges(s.Info.Inside(path.Join(p.layersDir, name)), name)
			if err != nil {
				return err
			}
			s.env.Apply(changes)
		}
	}
	if len(ignored) > 0 {
		_, err = s.shell(ctx, `for layer; do rm -rf "$layer.ignore" && mv "$layer" "$layer.ignore" || exit 1; done`, s.inside(ignored...)...)
	}
	return err
}

// readLayers reads the files that tell about layers.
func (p *builtPack) readLayers() (map[string]cnb.Layer, error) {
	layers := map[string]cnb.Layer{}
	for _, file := range p.tree.Names(".") {
		if p.tree[file].Dir {
			continue
		}
		name, ok, err := cnb.LayerOf(file)
		if err == nil && ok {
			layers[name], err = cnb.ParseLayer(p.file(file), p.tree[file].Text)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(layers) > maxLayers {
		return nil, &cnb.FileError{File: p.layersDir, Err: fmt.Errorf("%w: more than %d layers", cnb.ErrTooLarge, maxLayers)}
	}
	return layers, nil
}

// file is what errors call a file of the buildpack.
func (p *builtPack) file(name string) string { return name + " of " + p.String() }

// names returns those of the layers for which is says yes, sorted.
func (p *builtPack) names(is func(cnb.Layer) bool) []string {
	var names []string
	for name, layer := range p.layers {
		if is(layer) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// outputs reads the other files that the buildpack has written: which dependencies it has provided, and its processes.
func (p *builtPack) outputs(wanted []cnb.Require) (met map[string]bool, processes []cnb.Process, err error) {
	unmet, err := cnb.ParseUnmet(p.file("build.toml"), p.tree["build.toml"].Text, wanted)
	if err != nil {
		return nil, nil, err
	}
	met = map[string]bool{}
	for _, r := range wanted {
		met[r.Name] = !unmet[r.Name]
	}
	if p.store, err = cnb.KeptStore(p.file("store.toml"), p.tree["store.toml"].Text); err != nil {
		return nil, nil, err
	}
	processes, err = cnb.ParseLaunch(p.file("launch.toml"), p.tree["launch.toml"].Text, p.Descriptor)
	return met, processes, err
}
