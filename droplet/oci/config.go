package oci

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/deakit/deakit/droplet"
)

// The labels of an image that [Export] made. The last three are left out where staging did not write them down. Digests and
// format are those of the droplet's file, which an import cannot make again where its compression is another one.
const (
	LabelSHA1         = "deakit.droplet.sha1"
	LabelSHA256       = "deakit.droplet.sha256"
	LabelFormat       = "deakit.droplet.format"      // "gzip" or "zstd"
	LabelBaseLayers   = "deakit.droplet.base-layers" // how many layers stand below that of the droplet
	LabelBuildpack    = "deakit.droplet.detected-buildpack"
	LabelBuildpacks   = "deakit.droplet.buildpacks"    // JSON of StagingInfo.Buildpacks
	LabelProcessTypes = "deakit.droplet.process-types" // JSON: {type: command}
)

// script starts the app as a DEA does: files are private, the scripts of buildpacks have their say, then the command takes
// the place of the shell. But for a DEA's log files: output goes where that of the container does. $0 is what stands in
// Entrypoint behind the script; Cmd is the command as one word of shell, nothing for a droplet of the old kind, or any
// other program with its arguments.
const script = `umask 077
cd ` + Home + ` || exit 1
unset GEM_PATH
mkdir -p app logs tmp
export VCAP_APP_PORT="$PORT" DEPS_DIR="$PWD/deps"
for i in profile.d/*.sh app/.profile.d/*.sh; do
  if [ -r "$i" ]; then . "$i" </dev/null; fi
done
unset i
DROPLET_BASE_DIR=$PWD
[ $# -gt 0 ] || exec ./startup
cd app
[ $# -eq 1 ] || exec "$@"
exec bash -c "$1"
`

// startCommand chooses the command; empty for a droplet of the old kind, which brings a script of its own.
func startCommand(info *droplet.StagingInfo, opts Options) (string, error) {
	if opts.Command != "" {
		return opts.Command, nil
	}
	kind := cmp.Or(opts.Process, "web")
	if info == nil {
		if kind != "web" {
			return "", fmt.Errorf("%w: %q, it is of the old kind", ErrNoProcess, kind)
		}
		return "", nil
	}
	command := info.EffectiveProcfile[kind]
	if kind == "web" {
		command = cmp.Or(info.StartCommand, command)
	}
	if strings.TrimSpace(command) == "" {
		known := slices.Sorted(maps.Keys(info.EffectiveProcfile))
		return "", fmt.Errorf("%w: %q; it has %q", ErrNoProcess, kind, known)
	}
	return command, nil
}

// config makes the config of the image: what the base has, and how to start the droplet.
func config(summary droplet.Summary, command string, layers []layer, opts Options) v1.Image {
	image := v1.Image{Platform: v1.Platform{OS: "linux"}}
	if opts.Base != nil {
		image = opts.Base.Config()
	}
	image.Created = &opts.Created
	image.Architecture = cmp.Or(opts.Architecture, image.Architecture, runtime.GOARCH)
	image.OS = cmp.Or(image.OS, "linux")
	image.RootFS = v1.RootFS{Type: "layers"}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, digest.Digest(l.diffID))
	}
	image.History = history(image.History, len(layers)-1, v1.History{
		Created: &opts.Created, CreatedBy: "deakit: droplet " + summary.Digest.SHA1,
	})
	c := &image.Config
	c.User = fmt.Sprintf("%d:%d", opts.UID, opts.GID)
	c.ExposedPorts = map[string]struct{}{strconv.Itoa(opts.Port) + "/tcp": {}}
	c.WorkingDir = Home + "/app"
	c.Entrypoint = []string{"/bin/bash", "-c", script, "droplet"}
	c.Cmd = nil
	if command != "" {
		c.Cmd = []string{command}
	}
	c.Env = environment(c.Env, opts)
	c.Labels = labels(c.Labels, summary, len(layers)-1, opts)
	return image
}

// history adds an entry to those of the base, unless they do not fit its layers, which some tools would stumble over.
func history(base []v1.History, layers int, entry v1.History) []v1.History {
	for _, h := range base {
		if !h.EmptyLayer {
			layers--
		}
	}
	if layers != 0 {
		return nil
	}
	return append(base, entry)
}

// environment is what a DEA gives to every app, as far as it is known beforehand. The last of a name counts.
func environment(base []string, opts Options) []string {
	port := strconv.Itoa(opts.Port)
	all := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, base...)
	all = append(all,
		"HOME="+Home+"/app", "TMPDIR="+Home+"/tmp", "USER=vcap",
		"PORT="+port, "VCAP_APP_HOST=0.0.0.0", "VCAP_APPLICATION={}", "VCAP_SERVICES={}", "CF_INSTANCE_INDEX=0")
	var env []string
	for _, v := range append(all, opts.Env...) {
		name, _, _ := strings.Cut(v, "=")
		same := func(other string) bool { return strings.HasPrefix(other, name+"=") }
		if at := slices.IndexFunc(env, same); at >= 0 {
			env[at] = v
		} else {
			env = append(env, v)
		}
	}
	return env
}

func labels(base map[string]string, summary droplet.Summary, below int, opts Options) map[string]string {
	all := map[string]string{}
	maps.Copy(all, base)
	for name := range all { // of a base that is an image of a droplet itself
		if strings.HasPrefix(name, "deakit.droplet.") {
			delete(all, name)
		}
	}
	all[LabelSHA1] = summary.Digest.SHA1
	all[LabelSHA256] = summary.Digest.SHA256
	all[LabelFormat] = summary.Format.String()
	all[LabelBaseLayers] = strconv.Itoa(below)
	if info := summary.Info; info != nil {
		if info.DetectedBuildpack != "" {
			all[LabelBuildpack] = info.DetectedBuildpack
		}
		if len(info.Buildpacks) > 0 {
			all[LabelBuildpacks] = string(encode(info.Buildpacks))
		}
		if len(info.EffectiveProcfile) > 0 {
			all[LabelProcessTypes] = string(encode(info.EffectiveProcfile))
		}
	}
	maps.Copy(all, opts.Labels)
	return all
}
