// Package supervisor is the first process of a container: what reaps its orphans, starts its processes and writes down
// how they ended, also when nobody is left who made the container.
//
// It runs inside the container, as process 1 of its pid namespace, so that what it starts is confined by inheritance:
// namespaces, control group, system call filter and the bound of capabilities are those that the OCI runtime gave to it,
// and there is nothing to repeat, or to forget. It cannot be a shell, which the container's files need not have, nor
// this program, which a library must not start a second time. So it is a program of its own of some 500 bytes, written
// in assembly (program_*.s) and put into a file by [Program].
//
// It is that small because it knows next to nothing. A process is started by a list of system calls, which [Client]
// composes in memory and the new child carries out one by one; the last one is execve(2). The supervisor itself only
// forks, reaps and keeps three promises:
//
//   - of each child that it was told to start, the exit status is in the status file as soon as it has ended;
//   - a signal for a child never reaches another process, as the one who reaps is the one who signals;
//   - once told to end, it ends when no other process is left in the container, and not before.
//
// # Descriptors
//
// The supervisor is started with a datagram socket as descriptor 3 ([Listen]) and a status file as descriptor 4
// ([StatusFile]). Whoever can reach the socket's name and write to it can start processes, whether or not it is the one
// who made the container.
package supervisor
