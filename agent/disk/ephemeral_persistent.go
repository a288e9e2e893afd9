package disk

import (
	"context"
	"fmt"
	"maps"

	"github.com/deakit/deakit/agent/settings"
)

// mayBeLost refuses a device that a persistent disk has become: paths of devices may lead elsewhere than they did for whoever
// wrote the settings, and what that disk holds is to last.
func (e Ephemeral) mayBeLost(ctx context.Context, device string, s *settings.Settings) error {
	disks := map[string]settings.PersistentDisk{}
	for _, file := range e.Hints {
		said, err := (&hints{path: file}).read()
		if err != nil {
			return err
		}
		maps.Copy(disks, said)
	}
	for cid := range s.Disks.Persistent {
		disks[cid], _ = s.PersistentDisk(cid)
	}
	for cid, d := range disks {
		brief, cancel := context.WithTimeout(ctx, listPatience) // one that is this device is there
		found, err := e.Resolver.Resolve(brief, d.Disk)
		cancel()
		if err == nil && found == device {
			return fmt.Errorf("%s is the persistent disk '%s' too: correct the settings, or attach both disks", device, cid)
		}
	}
	return ctx.Err()
}
