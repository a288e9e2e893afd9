package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// The layout of the cache, for each buildpack below its escaped id.
const (
	cachedName = "cached"    // layers that the buildpack wants to be cached, with their files
	launchName = "launch"    // layers that were in the droplet only
	homeName   = "home.text" // the root of the droplet, as programs knew it
	maxHome    = 4 << 10     // bytes
)

// cacheDir returns the directory of a buildpack in the cache, or one below.
func (s *cnbBuild) cacheDir(p *builtPack, names ...string) string {
	return path.Join(append([]string{s.CacheDir, cnbCacheName, cnb.Escape(p.ID)}, names...)...)
}

// home is the root of the droplet, as programs know it.
func (s *cnbBuild) home() string { return s.Info.Inside(s.Root) }

// keptLayers are the layers of the last droplet that are not given back to their buildpacks, but can be used again.
type keptLayers struct {
	home string            // the root of that droplet, as programs knew it
	from map[string]string // by path in the droplet, where they are now
}

// restore gives back what the last build has left: cached layers, what buildpacks said of layers for launch, and what they
// wanted to be stored. Layers come without types. What cannot be read is left out.
func (s *cnbBuild) restore(ctx context.Context, packs []*builtPack) (keptLayers, error) {
	kept := keptLayers{from: map[string]string{}}
	home, err := containerfs.ReadFile(ctx, s.Container, path.Join(s.CacheDir, cnbCacheName, homeName), maxHome)
	switch {
	case ctx.Err() != nil:
		return kept, context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist):
		return kept, nil
	case err != nil:
		fmt.Fprintf(s.Log, "       The cache cannot be used: %v\n", err)
		return kept, nil
	}
	kept.home = string(home)
	var dirs []string
	for _, p := range packs {
		dirs = append(dirs, s.cacheDir(p), s.cacheDir(p, cachedName), s.cacheDir(p, launchName))
	}
	trees, err := s.list(ctx, dirs...)
	if err != nil {
		return kept, err
	}
	fmt.Fprintln(s.Log, "===> RESTORING")
	for i, p := range packs {
		r := restored{s, p, kept.home, nil, nil}
		r.file("store.toml", trees[3*i]["store.toml"].Text, cnb.KeptStore)
		for name := range r.layers(trees[3*i+1]) {
			r.move = append(r.move, path.Join(s.cacheDir(p, cachedName), name), path.Join(p.layersDir, name))
			fmt.Fprintf(s.Log, "Restoring layer %s of %s from the cache\n", name, p.ID)
		}
		for name := range r.layers(trees[3*i+2]) {
			kept.from[path.Join(p.layersDir, name)] = path.Join(s.cacheDir(p, launchName), name)
		}
		if err := r.write(ctx); err != nil {
			return kept, err
		}
	}
	return kept, s.correct(ctx, packs, kept.home)
}

// restored is what is given back to one buildpack.
type restored struct {
	s       *cnbBuild
	p       *builtPack
	oldHome string

	files []containerfs.File
	move  []string // from, to, from, to …
}

// file takes in a file of the cache, read and written anew by keep.
func (r *restored) file(name string, data []byte, keep func(string, []byte) ([]byte, error)) bool {
	data = []byte(cnb.ReplacePath(string(data), r.oldHome, r.s.home()))
	kept, err := keep(name, data)
	if err != nil {
		fmt.Fprintf(r.s.Log, "       The cached %s of %s is left out: %v\n", name, r.p.ID, err)
		return false
	}
	if len(kept) > 0 || name != "store.toml" {
		r.files = append(r.files, containerfs.Text(name, kept))
	}
	return true
}

// layers takes in what is said of layers, and returns the names of those that have their directory.
func (r *restored) layers(tree cnb.Tree) map[string]bool {
	found := map[string]bool{}
	for _, file := range tree.Names(".") {
		name, ok, err := cnb.LayerOf(file)
		if err != nil || !ok || !tree.Dir(name) {
			continue // a directory, or a file that somebody else has put there
		}
		if r.file(file, tree[file].Text, keptLayer) {
			found[name] = true
		}
	}
	return found
}

func keptLayer(file string, data []byte) ([]byte, error) {
	layer, err := cnb.ParseLayer(file, data)
	if err != nil {
		return nil, err
	}
	return cnb.KeptLayer(layer)
}

func (r *restored) write(ctx context.Context) error {
	if len(r.files) == 0 {
		return nil
	}
	if err := containerfs.WriteFiles(ctx, r.s.Container, r.p.layersDir); err != nil {
		return err
	}
	if err := r.s.moveAll(ctx, r.move); err != nil {
		return err
	}
	return containerfs.WriteFiles(ctx, r.s.Container, r.p.layersDir, r.files...)
}

// correct mends paths in the variables of layers that were built when the root was known by another name.
func (s *cnbBuild) correct(ctx context.Context, packs []*builtPack, home string) error {
	if home == s.home() {
		return nil
	}
	var dirs []string
	for _, p := range packs {
		dirs = append(dirs, p.layersDir)
	}
	trees, err := s.list(ctx, dirs...)
	if err != nil {
		return err
	}
	for i, dir := range dirs {
		var files []containerfs.File
		for _, file := range trees[i].EnvFiles() {
			old := string(trees[i][file].Text)
			if text := cnb.ReplacePath(old, home, s.home()); text != old {
				files = append(files, containerfs.Text(file, []byte(text)))
			}
		}
		if err := containerfs.WriteFiles(ctx, s.Container, dir, files...); err != nil {
			return err
		}
	}
	return nil
}

// moveAll moves directories: from, to, from, to …
func (s *cnbBuild) moveAll(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	_, err := s.shell(ctx, `while [ $# -gt 0 ]; do
	chmod u+rwx "$1" && mkdir -p "${2%/*}" && mv "$1" "$2" || exit 1
	shift 2
done`, s.inside(paths...)...)
	return err
}

// reuse puts layers for launch that buildpacks have not made anew into their places, from the last build.
func (s *cnbBuild) reuse(ctx context.Context, packs []*builtPack, kept keptLayers) error {
	var move []string
	for _, p := range packs {
		for _, name := range p.names(func(l cnb.Layer) bool { return l.Launch || l.Cache }) {
			if p.tree.Dir(name) {
				continue
			}
			layer, dir := p.layers[name], path.Join(p.layersDir, name)
			from, ok := kept.from[dir]
			switch {
			case layer.Launch && !layer.Cache && ok:
				move = append(move, from, dir)
				fmt.Fprintf(s.Log, "Reusing layer %s of %s\n", name, p.ID)
			case layer.Launch:
				return p.fault(&cnb.FileError{File: p.file(name + ".toml"), Key: "types.launch",
					Err: errors.New("the layer has no directory, and the last build has left none that could be used again")})
			default:
				fmt.Fprintf(s.Log, "Warning: layer %s of %s has no directory and is not cached\n", name, p.ID)
			}
		}
	}
	if len(move) == 0 {
		return nil
	}
	if err := s.moveAll(ctx, move); err != nil {
		return err
	}
	return s.correct(ctx, packs, kept.home)
}

// cnbSave makes the new cache of layers: "link FROM TO" where the layer is in the droplet too, "move FROM TO" where not.
// Arguments: CACHE NEW, then these.
const cnbSave = `cache=$1 new=$2
shift 2
rm -rf "$new" && mkdir -p "$new" || exit 1
while [ $# -gt 0 ]; do
	mkdir -p "${3%/*}" || exit 1
	case $1 in
	link) cp -al "$2" "$3" 2>/dev/null || { rm -rf "$3" && cp -a "$2" "$3"; } || exit 1 ;;
	*) chmod u+rwx "$2" && mv "$2" "$3" || exit 1 ;;
	esac
	shift 3
done
mkdir -p "$cache" && cd "$cache" || exit 1
for old in * .[!.]* ..?*; do
	if [ -e "$old" ] || [ -L "$old" ]; then
		rm -rf "./$old" 2>/dev/null || { chmod -R u+rwX "./$old" && rm -rf "./$old"; } || exit 1
	fi
done
mv "$new" ` + cnbCacheName

// save makes the cache for the next build, of this group and nothing else.
func (s *cnbBuild) save(ctx context.Context, packs []*builtPack) error {
	fresh := path.Join(cnbDir, "cache")
	args := s.inside(s.CacheDir, fresh)
	files := []containerfs.File{containerfs.Text(homeName, []byte(s.home()))}
	for _, p := range packs {
		id := cnb.Escape(p.ID)
		if len(p.store) > 0 {
			files = append(files, containerfs.Text(path.Join(id, "store.toml"), p.store))
		}
		for _, name := range p.names(func(l cnb.Layer) bool { return l.Cache || l.Launch && !l.Build }) {
			layer, place, verb := p.layers[name], launchName, "link"
			if layer.Cache {
				place = cachedName
			}
			if !layer.Launch {
				verb = "move"
			}
			if !layer.Launch && !p.tree.Dir(name) {
				continue // told by reuse
			}
			text, err := cnb.KeptLayer(layer)
			if err != nil {
				return err
			}
			args = append(args, verb, s.Info.Inside(path.Join(p.layersDir, name)), s.Info.Inside(path.Join(fresh, id, place, name)))
			files = append(files, containerfs.Text(path.Join(id, place, name+".toml"), text))
		}
	}
	if _, err := s.shell(ctx, cnbSave, args...); err != nil {
		return err
	}
	return containerfs.WriteFiles(ctx, s.Container, path.Join(s.CacheDir, cnbCacheName), files...)
}
