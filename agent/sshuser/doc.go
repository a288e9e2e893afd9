// Package sshuser makes and removes the users by which people log in to a BOSH agent's machine with ssh for a while.
//
// A [Manager] works on the accounts of the machine, or of a root directory in which another one is put together, by the programs
// useradd, usermod and userdel. Only users whose name begins with bosh_ are made and removed.
package sshuser
