package disk

import (
	"context"
	"errors"
	"slices"

	"github.com/deakit/deakit/agent/settings"
)

// ErrUnexpected: there are more persistent disks than the director has named.
var ErrUnexpected = errors.New("Unexpected disk attached") //nolint:staticcheck // text of the original

// A NotAttachedError names a disk that the director has named, and that neither the settings nor a hint tell of any more.
type NotAttachedError struct{ CID string }

// Error is the text of the original.
func (e *NotAttachedError) Error() string { return "Disk " + e.CID + " is not attached" }

// CheckAssociated compares the disks with those that the director has named, as a machine does that comes up (bosh-agent, bootstrap):
// each that is named must be there, and of several there must be none more. Unlike with the original, where none is named there may be
// several: those of a migration that is under way.
func (m *Manager) CheckAssociated(ctx context.Context, associations []settings.DiskAssociation) error {
	if len(associations) == 0 {
		return nil
	}
	disks, err := m.known(ctx)
	if err != nil {
		return err
	}
	for _, a := range associations {
		if !slices.ContainsFunc(disks, func(d settings.PersistentDisk) bool { return d.CID == a.CID }) {
			return &NotAttachedError{a.CID}
		}
	}
	if len(disks) > 1 && len(disks) > len(associations) {
		return ErrUnexpected
	}
	return nil
}
