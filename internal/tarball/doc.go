// Package tarball extracts and writes plain tar streams beneath an [os.Root], for archives and directory trees that
// nobody trusts: both sides, the archive and the processes that change the tree meanwhile, may be hostile.
//
// It is no general tar: devices, FIFOs, sockets, owners by name, extended attributes and access times are left out on
// the way in and on the way out. Compression is the caller's.
package tarball
