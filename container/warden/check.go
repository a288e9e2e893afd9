package warden

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/container"
)

// What the server would refuse, or not understand, is refused here.

func checkSpec(spec container.Spec) error {
	if !validHandle(spec.Handle) {
		return fmt.Errorf("handle must be 1 to 64 letters, digits, '-' and '_': %w", container.ErrInvalid)
	}
	if err := checkEnv(spec.Env); err != nil {
		return err
	}
	return checkLimits(spec.Limits)
}

func validHandle(handle string) bool {
	return handle != "" && len(handle) <= 64 && !strings.ContainsFunc(handle, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

func checkEnv(env []string) error {
	for n, entry := range env {
		if name, _, found := strings.Cut(entry, "="); !found || name == "" || strings.ContainsRune(entry, 0) {
			// Not its text, which may be a secret.
			return fmt.Errorf("entry %d of the environment is not of the form NAME=value: %w", n, container.ErrInvalid)
		}
	}
	return nil
}

func checkLimits(l container.Limits) error {
	if l.MemoryBytes < 0 || l.DiskBytes < 0 || l.DiskInodes < 0 || l.CPUShares < 0 || !(l.CPUQuota >= 0) || l.PIDs < 0 ||
		l.Bandwidth != nil && (l.Bandwidth.BytesPerSecond < 0 || l.Bandwidth.BurstBytes < 0) {
		return fmt.Errorf("a limit is negative: %w", container.ErrInvalid)
	}
	return nil
}
