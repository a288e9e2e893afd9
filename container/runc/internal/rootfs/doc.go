// Package rootfs makes the root file systems of containers: a base that many share and none can change, below a layer of
// their own that they write to, put together by overlayfs. The base is a directory, the host's own root, or a tarball that
// is unpacked once.
//
// The writable layer stands in a directory, in an ext4 file system of its own in a sparse file (by a loop device), or in
// memory; the latter two enforce a limit of disk space.
package rootfs
