package buildpack

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

const detectAtOnce = 4 // programs of bin/detect

// A cnbBuild is one app on its way through the buildpacks of a CNB.
type cnbBuild struct {
	Build
	packs *CNB

	base  cnb.Target // what the container is
	env   cnb.Env    // of the programs, as the layers so far make it
	user  cnb.Env    // the variables of the platform and the user
	found cnb.Found

	launch cnb.Launch
	web    string // the type of the process that serves requests; empty if there is none
}

// Detect runs bin/detect of the buildpacks, several at once, group by group until one takes the app. What they print is shown
// when none does, or when one of them has failed in another way than by not taking the app. The name is that of all buildpacks of
// the group: "samples/a@1.0.0, samples/b@2.1.0".
func (c *CNB) Detect(ctx context.Context, b Build) (string, bool, error) {
	c.build = nil
	s, err := c.begin(ctx, b)
	if err != nil {
		return "", false, err
	}
	err = s.detect(ctx)
	switch {
	case errors.Is(err, cnb.ErrNotDetected):
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	c.build = s
	return s.name(), true, nil
}

// name is that of the group.
func (s *cnbBuild) name() string {
	var names []string
	for _, d := range s.found.Group {
		names = append(names, d.String())
	}
	name := strings.Join(names, ", ")
	if len(name) > maxName {
		name = name[:maxName]
	}
	return name
}

// cnbProbe prints variables of the container, the processor and /etc/os-release, each ended by NUL.
const cnbProbe = `for name; do eval "value=\${$name-}"; printf '%s=%s\0' "$name" "$value"; done
printf '%s\0' "$(uname -m)"; head -c 65536 /etc/os-release 2>/dev/null; exit 0`

// begin looks at the container and hands the variables of the user over, as files.
func (c *CNB) begin(ctx context.Context, b Build) (*cnbBuild, error) {
	s := &cnbBuild{Build: b, packs: c, env: cnb.Env{}, user: cnb.Env{}}
	out, err := s.shell(ctx, cnbProbe, cnb.KeptVariables...)
	if err != nil {
		return nil, err
	}
	told := strings.SplitN(string(out), "\x00", len(cnb.KeptVariables)+2)
	if len(told) != len(cnb.KeptVariables)+2 {
		return nil, errors.New("the container's sh does not tell its environment")
	}
	for _, entry := range told[:len(cnb.KeptVariables)] {
		if name, value, _ := strings.Cut(entry, "="); value != "" {
			s.env[name] = value
		}
	}
	s.base = targetOf(told[len(told)-2], told[len(told)-1])
	return s, s.writePlatform(ctx)
}

// targetOf translates what uname -m and /etc/os-release say.
func targetOf(machine, release string) cnb.Target {
	t := cnb.Target{OS: "linux", Arch: machine}
	switch machine {
	case "x86_64":
		t.Arch = "amd64"
	case "aarch64":
		t.Arch = "arm64"
	case "armv6l", "armv7l":
		t.Arch, t.Variant = "arm", machine[3:5]
	case "i386", "i686":
		t.Arch = "386"
	}
	distro := cnb.Distro{}
	for lines := bufio.NewScanner(strings.NewReader(release)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch name {
		case "ID":
			distro.Name = value
		case "VERSION_ID":
			distro.Version = value
		}
	}
	if distro != (cnb.Distro{}) {
		t.Distros = []cnb.Distro{distro}
	}
	return t
}

// writePlatform makes the platform directory. A variable whose name can be none of a file is left out, and the log says so.
func (s *cnbBuild) writePlatform(ctx context.Context) error {
	for _, entry := range s.Env {
		name, value, _ := strings.Cut(entry, "=")
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") || len(name) > 255 {
			fmt.Fprintf(s.Log, "       The variable %.60q is left out: buildpacks get variables as files\n", name)
			continue
		}
		s.user[name] = value
	}
	if _, err := s.shell(ctx, `rm -rf "$1" && mkdir -p "$1"`, s.Info.Inside(cnbDir)); err != nil {
		return err
	}
	files := []containerfs.File{containerfs.Directory("platform"), containerfs.Directory("platform/env"), containerfs.Directory("plans")}
	for name, value := range s.user {
		files = append(files, containerfs.Text("platform/env/"+name, []byte(value)))
	}
	return containerfs.WriteFiles(ctx, s.Container, cnbDir, files...)
}

// programEnv is the environment of a program of a buildpack. paths are variables that the Buildpack API has for its arguments.
func (s *cnbBuild) programEnv(d *cnb.Descriptor, dir string, paths cnb.Env) []string {
	env := s.env.WithUser(nil)
	if !d.ClearEnv {
		env = s.env.WithUser(s.user)
	}
	env["CNB_BUILDPACK_DIR"] = s.Info.Inside(dir)
	if d.API.PathsInVariables() {
		for name, p := range paths {
			env[name] = s.Info.Inside(p)
		}
	}
	if d.API.Targets() {
		env["CNB_TARGET_OS"], env["CNB_TARGET_ARCH"] = s.base.OS, s.base.Arch
		if s.base.Variant != "" {
			env["CNB_TARGET_ARCH_VARIANT"] = s.base.Variant
		}
		for _, distro := range s.base.Distros {
			env["CNB_TARGET_DISTRO_NAME"], env["CNB_TARGET_DISTRO_VERSION"] = distro.Name, distro.Version
		}
	}
	if d.API.ExecEnv() {
		env["CNB_EXEC_ENV"] = cnb.ExecEnv
	}
	return env.List()
}

// detect finds the group. It fails with cnb.ErrNotDetected.
func (s *cnbBuild) detect(ctx context.Context) error {
	search := cnb.Search{
		Base: s.base, Detect: s.runDetects,
		Lookup: func(m cnb.Member) (*cnb.Descriptor, error) {
			p, err := s.packs.lookup(m)
			return p.Descriptor, err
		},
	}
	fmt.Fprintln(s.Log, "===> DETECTING")
	found, err := search.Find(ctx, s.packs.order)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.tell(&search, err)
	if errors.Is(err, cnb.ErrTooLarge) {
		err = &ScriptError{Script: script("detect"), Err: err}
	}
	if err != nil {
		return err
	}
	s.found = found
	if len(found.Group) < found.Asked {
		fmt.Fprintf(s.Log, "%d of %d buildpacks participating\n", len(found.Group), found.Asked)
	}
	for _, d := range found.Group {
		fmt.Fprintf(s.Log, "%s %s\n", d.ID, d.Version)
	}
	return nil
}

// tell writes to the log how bin/detect of the buildpacks ended: of all when no group was found, else of those that failed.
func (s *cnbBuild) tell(search *cnb.Search, err error) {
	for _, name := range search.Order {
		end := search.Runs[name]
		if err == nil && (end.Passed() || end.Failed()) {
			continue
		}
		if end.Output != "" {
			fmt.Fprintf(s.Log, "======== Output: %s ========\n%s\n", name, strings.TrimSuffix(end.Output, "\n"))
		}
		switch {
		case end.Err != nil:
			fmt.Fprintf(s.Log, "err:  %s: %v\n", name, end.Err)
		case end.Passed():
			fmt.Fprintf(s.Log, "pass: %s\n", name)
		case end.Failed():
			fmt.Fprintf(s.Log, "fail: %s\n", name)
		default:
			fmt.Fprintf(s.Log, "err:  %s: bin/detect exited with status %d\n", name, end.Status)
		}
	}
	if err != nil && search.Reason != "" {
		fmt.Fprintf(s.Log, "fail: %s\n", search.Reason)
	}
}

// runDetects runs bin/detect of buildpacks.
func (s *cnbBuild) runDetects(ctx context.Context, all []*cnb.Descriptor) ([]cnb.Outcome, error) {
	ends := make([]cnb.Outcome, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(detectAtOnce)
	for i, d := range all {
		group.Go(func() (err error) {
			ends[i], err = s.runDetect(ctx, d)
			return err
		})
	}
	return ends, group.Wait()
}

// runDetect runs bin/detect of one buildpack. Its own faults are in the outcome; an error is trouble with the container.
func (s *cnbBuild) runDetect(ctx context.Context, d *cnb.Descriptor) (cnb.Outcome, error) {
	pack, err := s.packs.lookup(cnb.Member{ID: d.ID, Version: d.Version})
	if err != nil {
		return cnb.Outcome{}, err
	}
	plan := path.Join(cnbPlans, cnb.Escape(d.ID)+"@"+d.Version+".toml")
	if err := containerfs.WriteFiles(ctx, s.Container, cnbPlans, containerfs.Text(path.Base(plan), nil)); err != nil {
		return cnb.Outcome{}, err
	}
	spec := container.ProcessSpec{
		Path: s.Info.Inside(path.Join(pack.dir, script("detect"))), Args: s.inside(cnbPlatform, plan), Dir: s.AppDir,
		Env: s.programEnv(d, pack.dir, cnb.Env{"CNB_PLATFORM_DIR": cnbPlatform, "CNB_BUILD_PLAN_PATH": plan}),
	}
	var out limited
	status, err := runProgram(ctx, s.Build, script("detect"), spec, container.IO{Stdout: &out, Stderr: &out})
	end := cnb.Outcome{Status: status, Output: out.text()}
	var failed *ScriptError
	switch {
	case errors.As(err, &failed):
		end.Err = failed
		return end, nil
	case err != nil || status != 0:
		return end, err
	}
	data, err := containerfs.ReadFile(ctx, s.Container, plan, cnb.MaxFileBytes)
	if ctx.Err() != nil {
		return end, context.Cause(ctx)
	}
	if err == nil {
		end.Plan, err = cnb.ParsePlan("build plan of "+d.String(), data)
	}
	end.Err = err
	return end, nil
}

// group returns the buildpacks of the group, in their order.
func (s *cnbBuild) group() []cnbPack {
	var packs []cnbPack
	for _, d := range s.found.Group {
		i := slices.IndexFunc(s.packs.packs, func(p cnbPack) bool { return p.Descriptor == d })
		packs = append(packs, s.packs.packs[i])
	}
	return packs
}
