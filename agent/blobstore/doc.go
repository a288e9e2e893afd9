// Package blobstore fetches and stores the blobs of BOSH: packages, job templates, logs, what an agent compiles.
//
// A [Store] keeps blobs under ids. There are stores in a directory ([Local]), behind WebDAV ([DAV], what directors run),
// behind the simple blobstore server of old ([Simple]), in a bucket of S3 or what speaks like it ([S3]), in an object
// store of NATS ([JetStream]), behind an external program ([External]), and one that keeps nothing ([Dummy]). [Open] makes
// the one that the settings of an agent name. Package blobstoretest holds what all of them promise.
//
// A [Client] is what an agent uses: it looks for a blob where blobs were sent to it before it asks its store, tries
// again what may pass, checks digests, bounds sizes, and gives back complete files or none. It also reads and writes
// signed URLs.
package blobstore
