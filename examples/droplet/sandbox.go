package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/examples/internal/envflag"
)

// sandbox are the flags about where programs run.
type sandbox struct {
	Backend string `help:"What they run in: ${enum}. auto takes the strongest that works here." enum:"${backends}" default:"auto"`
	Stack   string `help:"Name of the stack, which they find as CF_STACK; with a directory or tar file behind it, which becomes their root file system on the back end runc." placeholder:"NAME[=ROOTFS]"`
}

// stack returns the two parts of --stack, where the back end can have them.
func (s sandbox) stack(backend container.Backend) (name, rootfs string, err error) {
	name, rootfs, both := strings.Cut(s.Stack, "=")
	if !both {
		return name, "", nil
	}
	if name == "" || rootfs == "" {
		return "", "", wrong("--stack %s: write NAME, or NAME=ROOTFS with a directory or tar file", s.Stack)
	}
	if c := backend.Capabilities(); !c.RootFS {
		return "", "", wrong("--stack %s: the back end %s has no root file system but that of this machine", s.Stack, c.Name)
	}
	if rootfs, err = filepath.Abs(rootfs); err != nil {
		return "", "", err
	}
	info, err := os.Stat(rootfs)
	if err != nil {
		return "", "", missing("--stack "+s.Stack, err)
	}
	if info.IsDir() {
		// A link in it would be followed on this machine instead.
		if _, err := os.Lstat(filepath.Join(rootfs, "bin")); err != nil {
			return "", "", wrong("--stack %s: the directory has no bin, so it is no root file system", s.Stack)
		}
	}
	return name, rootfs, nil
}

// create makes a container that may reach the public internet, as buildpacks expect.
func (s sandbox) create(ctx context.Context, backend container.Backend, spec container.Spec) (_ container.Container, err error) {
	name, rootfs, err := s.stack(backend)
	if err != nil {
		return nil, err
	}
	spec.RootFS = rootfs
	if name != "" {
		spec.Env = append(spec.Env, "CF_STACK="+name)
	}
	c, err := backend.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	for _, rule := range publicNetworks() {
		if err := c.NetOut(ctx, rule); err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
			defer cancel()
			return nil, errors.Join(err, c.Destroy(ctx))
		}
	}
	return c, nil
}

// public are the networks that programs may reach where they can be confined: the public internet, as the default security
// group of a Cloud Controller says. Name servers are the business of the back end.
var public = []string{
	"0.0.0.0-9.255.255.255", "11.0.0.0-169.253.255.255", "169.255.0.0-172.15.255.255", "172.32.0.0-192.167.255.255",
	"192.169.0.0-255.255.255.255",
}

func publicNetworks() []container.EgressRule {
	var rules []container.EgressRule
	for _, network := range public {
		rules = append(rules, container.EgressRule{Protocol: container.AllProtocols, Network: network})
	}
	return rules
}

// megabytes is an amount of memory or disk, written as a number of megabytes, or with a unit: 512, 512M, 2G.
type megabytes int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *megabytes) UnmarshalText(text []byte) error {
	s, factor := strings.TrimSuffix(strings.ToUpper(string(text)), "B"), int64(1)
	switch {
	case strings.HasSuffix(s, "G"):
		s, factor = s[:len(s)-1], 1024
	case strings.HasSuffix(s, "M"):
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<30 {
		return fmt.Errorf("%q is no amount: write 512, 512M or 2G", text)
	}
	*m = megabytes(n * factor)
	return nil
}

// moment is a point in time, written as 2006-01-02T15:04:05Z, or as the seconds that SOURCE_DATE_EPOCH has.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		m.Time = time.Unix(seconds, 0).UTC()
	} else if m.Time, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return fmt.Errorf("%q is no time: write 2006-01-02T15:04:05Z, or seconds since 1970", text)
	}
	if year := m.Year(); year < 1970 || year > 2242 { // what every archive can hold
		return fmt.Errorf("%q is no time that files can have", text)
	}
	return nil
}

// environment reads NAME=value, and takes the value of a name alone from the environment of this program. One that is not
// there is left out.
func environment(entries []string) ([]string, error) {
	env, err := envflag.Parse(entries)
	if err != nil {
		return nil, wrong("%w", err)
	}
	return env, nil
}
