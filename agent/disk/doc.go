// Package disk finds, partitions, formats, grows, mounts, migrates and unmounts the persistent disks of a BOSH agent, and
// sets up its ephemeral disk.
//
// A [Manager] does what the methods of the agent say: list_disk, mount_disk, unmount_disk, migrate_disk, and what a
// director says about disks that are attached later. It never formats what holds something.
//
// An [Ephemeral] sets up the ephemeral disk when a machine comes up. That one it takes for its own, as the original does: only what
// it, or the original, made for the same agent is kept.
//
// What they ask of the machine is a [System]: [Linux] with the programs that every distribution has, or [Memory], which
// stands for a machine in tests and for development without root. Where a disk has its device is told by a [Resolver], of
// which each infrastructure needs its own.
package disk
