package containerkit

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/deakit/deakit/container"
)

// CheckSpec returns container.ErrInvalid for a Spec that makes no sense. Handle must not be empty any more.
func CheckSpec(spec container.Spec) error {
	if err := CheckHandle(spec.Handle); err != nil {
		return err
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

// CheckHandle returns container.ErrInvalid for what cannot be a handle. A handle is a name that a file may have, and begins
// with no dot.
func CheckHandle(handle string) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	if handle == "" || len(handle) > 64 || strings.ContainsFunc(handle, odd) {
		return fmt.Errorf("handle must be 1 to 64 letters, digits, '-' and '_': %w", container.ErrInvalid)
	}
	return nil
}

// CleanMounts returns the bind mounts of a Spec that was checked, with their destinations filled in, and all paths cleaned.
func CleanMounts(mounts []container.BindMount) []container.BindMount {
	mounts = slices.Clone(mounts)
	for i := range mounts {
		m := &mounts[i]
		m.Dst = path.Clean(cmp.Or(m.Dst, m.Src))
		m.Src = path.Clean(m.Src)
	}
	return mounts
}

// CheckLimits returns container.ErrInvalid for a limit that is negative, or no number.
func CheckLimits(l container.Limits) error {
	if math.IsInf(l.CPUQuota, 1) {
		return fmt.Errorf("the limit of processor time is infinite: leave it zero: %w", container.ErrInvalid)
	}
	if l.MemoryBytes < 0 || l.DiskBytes < 0 || l.DiskInodes < 0 || l.CPUShares < 0 || !(l.CPUQuota >= 0) || l.PIDs < 0 ||
		l.Bandwidth != nil && (l.Bandwidth.BytesPerSecond < 0 || l.Bandwidth.BurstBytes < 0) {
		return fmt.Errorf("a limit is negative: %w", container.ErrInvalid)
	}
	return nil
}

// CheckProcess returns container.ErrInvalid for a ProcessSpec that makes no sense.
func CheckProcess(spec container.ProcessSpec) error {
	if spec.Path == "" || strings.ContainsRune(spec.Path+spec.Dir+strings.Join(spec.Args, ""), 0) {
		return fmt.Errorf("program %q: it is empty, or a zero byte is in it, its arguments or its directory: %w",
			spec.Path, container.ErrInvalid)
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
