// Package cgroup reads and changes the control groups of containers, of version 1, version 2, and both beside each other
// (hybrid). It does not make groups: the OCI runtime does. It works with files only and starts no process.
package cgroup
