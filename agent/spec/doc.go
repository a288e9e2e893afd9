// Package spec has the apply spec of BOSH: what a director wants a machine to be. It reads the specs of both eras, with all
// their loose forms, keeps what it does not know, says which of it an agent cannot install, and stores the one that is
// applied.
//
// It installs nothing: that is package job.
package spec
