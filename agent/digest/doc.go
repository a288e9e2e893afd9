// Package digest reads, prints and checks the digest strings of BOSH: one or several digests of the same content, each
// with its algorithm, of which the strongest that is known decides (bosh-utils).
//
//	da39a3ee5e6b4b0d3255bfef95601890afd80709            SHA-1, which needs no name
//	sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4...  another algorithm
//	da39a3ee...;sha512:cf83e1357eefb8bdf1542850d6...    several
//
// Content is read once, in constant memory, however long it is.
package digest
