// Package sshuser makes and removes the users by which people log in to a BOSH agent's machine with ssh for a while.
//
// A [Manager] works on the accounts of the machine, or of a root directory in which another one is put together, by the programs
// useradd, usermod and userdel. Users of any name are made, unless somebody has it; only those whose name begins with bosh_ are
// removed.
package sshuser
