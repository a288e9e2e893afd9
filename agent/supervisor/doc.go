// Package supervisor is how a BOSH agent sees whoever keeps the processes of its jobs running.
//
//   - [JobSupervisor] is what the agent asks of it. Package monit implements it with monit, as the originals do; [Dev] in this
//     package needs no monit and is for development.
//   - [Files] holds what both work on below the base directory: the monit files of the installed jobs, the mark of a machine that
//     was stopped on purpose, and the file that tells jobs how the machine is.
//   - [ParseMonit] reads of monit's language what says how processes are started and stopped.
package supervisor
