package buildpack

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// finish makes of the layers what the droplet needs, and the cache for the next build.
func (s *cnbBuild) finish(ctx context.Context, packs []*builtPack, kept keptLayers) error {
	if err := s.reuse(ctx, packs, kept); err != nil {
		return err
	}
	if err := s.save(ctx, packs); err != nil {
		return err
	}
	if err := s.prune(ctx, packs); err != nil {
		return err
	}
	return s.writeLaunch(ctx, packs)
}

// cnbPrune leaves in the root of a droplet the app, logs, tmp and those layers that are named. Arguments: ROOT LAYER...
const cnbPrune = `cd "$1" || exit 1
shift
mkdir layers.kept || exit 1
for layer; do
	chmod u+rwx "layers/$layer" && mkdir -p "layers.kept/${layer%/*}" && mv "layers/$layer" "layers.kept/$layer" || exit 1
done
for name in * .[!.]* ..?*; do
	case $name in
	app | logs | tmp | layers.kept) continue ;;
	esac
	if [ -e "$name" ] || [ -L "$name" ]; then
		rm -rf "./$name" 2>/dev/null || { chmod -R u+rwX "./$name" && rm -rf "./$name"; } || exit 1
	fi
done
mv layers.kept layers`

// prune removes from the root all that would be in no image: layers that are not for launch, what buildpacks say of them, and
// what they left in the home of the app user.
func (s *cnbBuild) prune(ctx context.Context, packs []*builtPack) error {
	args := s.inside(s.Root)
	for _, p := range packs {
		for _, name := range p.names(isLaunch) {
			args = append(args, path.Join(cnb.Escape(p.ID), name))
		}
	}
	_, err := s.shell(ctx, cnbPrune, args...)
	return err
}

func isLaunch(l cnb.Layer) bool { return l.Launch }

// writeLaunch writes the script that starts processes.
func (s *cnbBuild) writeLaunch(ctx context.Context, packs []*builtPack) error {
	var dirs []string
	for _, p := range packs {
		dirs = append(dirs, p.layersDir)
	}
	trees, err := s.list(ctx, dirs...)
	if err != nil {
		return err
	}
	s.launch.Home = s.home()
	for i, p := range packs {
		s.launch.Packs = append(s.launch.Packs, cnb.LaunchPack{Descriptor: p.Descriptor, Layers: p.names(isLaunch), Tree: trees[i]})
	}
	script, left, err := s.launch.Script()
	if err != nil {
		return &ScriptError{Script: "bin/build", Err: err}
	}
	if len(left) > 0 {
		fmt.Fprintf(s.Log, "Warning: variables that no shell can set are left out at launch: %.500s\n", strings.Join(left, ", "))
	}
	metadata, err := s.launch.Metadata()
	if err != nil {
		return err
	}
	launch := containerfs.Text(path.Base(cnb.LaunchName), []byte(script))
	launch.Mode = 0o755
	return containerfs.WriteFiles(ctx, s.Container, path.Join(s.Root, path.Dir(cnb.LaunchName)), launch,
		containerfs.Text("metadata.toml", metadata))
}
