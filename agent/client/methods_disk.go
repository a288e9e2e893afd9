package client

import "context"

// ListDisk names the persistent disks that are mounted.
func (c *Client) ListDisk(ctx context.Context) ([]string, error) {
	return run[[]string](ctx, c, "list_disk")
}

// MountDisk mounts a persistent disk; one that has no file system gets one.
func (c *Client) MountDisk(ctx context.Context, cid string) error {
	return c.done(ctx, "mount_disk", cid)
}

// UnmountDisk unmounts a persistent disk.
func (c *Client) UnmountDisk(ctx context.Context, cid string) error {
	return c.done(ctx, "unmount_disk", cid)
}

// MigrateDisk copies all of the mounted disk to the one that was mounted after it, and puts that in its place. Old agents
// are told both, the old one first.
func (c *Client) MigrateDisk(ctx context.Context, cids ...string) error {
	arguments := make([]any, len(cids))
	for i, cid := range cids {
		arguments[i] = cid
	}
	return c.done(ctx, "migrate_disk", arguments...)
}

// AddPersistentDisk tells the agent where a disk is to be found: a device path, or an object with what is known of it.
func (c *Client) AddPersistentDisk(ctx context.Context, cid string, hint any) error {
	return c.done(ctx, "add_persistent_disk", cid, hint)
}

// RemovePersistentDisk makes the agent forget it.
func (c *Client) RemovePersistentDisk(ctx context.Context, cid string) error {
	return c.done(ctx, "remove_persistent_disk", cid)
}

// AddDynamicDisk gives a disk a name below data/dynamic_disks.
func (c *Client) AddDynamicDisk(ctx context.Context, cid string, hint any) error {
	return c.done(ctx, "add_dynamic_disk", cid, hint)
}

// RemoveDynamicDisk takes the name away.
func (c *Client) RemoveDynamicDisk(ctx context.Context, cid string) error {
	return c.done(ctx, "remove_dynamic_disk", cid)
}
