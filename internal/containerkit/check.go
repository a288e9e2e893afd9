// Package containerkit is what back ends that drive a server have in common: checks of what the server would refuse or
// misunderstand, and the handing out of output.
package containerkit

import (
	"fmt"
	"path"
	"strings"

	"github.com/deakit/deakit/container"
)

// CheckSpec returns container.ErrInvalid for a Spec that makes no sense. Handle must not be empty any more.
func CheckSpec(spec container.Spec) error {
	if !validHandle(spec.Handle) {
		return fmt.Errorf("handle must be 1 to 64 letters, digits, '-' and '_': %w", container.ErrInvalid)
	}
	if err := CheckEnv(spec.Env); err != nil {
		return err
	}
	for _, m := range spec.BindMounts {
		if !path.IsAbs(m.Src) || m.Dst != "" && !path.IsAbs(m.Dst) || strings.ContainsRune(m.Src+m.Dst, 0) {
			return fmt.Errorf("bind mount of %q at %q: both paths must be absolute: %w", m.Src, m.Dst, container.ErrInvalid)
		}
	}
	return CheckLimits(spec.Limits)
}

func validHandle(handle string) bool {
	return handle != "" && len(handle) <= 64 && !strings.ContainsFunc(handle, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// CheckEnv returns container.ErrInvalid unless all entries are of the form NAME=value.
func CheckEnv(env []string) error {
	for n, entry := range env {
		if name, _, found := strings.Cut(entry, "="); !found || name == "" || strings.ContainsRune(entry, 0) {
			// Not its text, which may be a secret.
			return fmt.Errorf("entry %d of the environment is not of the form NAME=value: %w", n, container.ErrInvalid)
		}
	}
	return nil
}

// CheckLimits returns container.ErrInvalid for a negative limit.
func CheckLimits(l container.Limits) error {
	if l.MemoryBytes < 0 || l.DiskBytes < 0 || l.DiskInodes < 0 || l.CPUShares < 0 || !(l.CPUQuota >= 0) || l.PIDs < 0 ||
		l.Bandwidth != nil && (l.Bandwidth.BytesPerSecond < 0 || l.Bandwidth.BurstBytes < 0) {
		return fmt.Errorf("a limit is negative: %w", container.ErrInvalid)
	}
	return nil
}

// CheckProcess returns container.ErrInvalid for a ProcessSpec that makes no sense.
func CheckProcess(spec container.ProcessSpec) error {
	if spec.Path == "" || strings.ContainsRune(spec.Path+spec.Dir+strings.Join(spec.Args, ""), 0) {
		return fmt.Errorf("program %q, its arguments or its directory: %w", spec.Path, container.ErrInvalid)
	}
	return CheckEnv(spec.Env)
}

// CloneLimits returns a copy that shares nothing.
func CloneLimits(l container.Limits) container.Limits {
	if l.Bandwidth != nil {
		b := *l.Bandwidth
		l.Bandwidth = &b
	}
	return l
}
