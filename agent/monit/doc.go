// Package monit keeps the processes of a BOSH agent's jobs running with monit, as the originals do.
//
//   - [Client] speaks monit's HTTP interface, that of versions with and without a security token.
//   - [Supervisor] is a supervisor.JobSupervisor on top of it: start, stop and status of the services of a group.
//   - [Daemon] runs monit itself, for an agent that has no service manager to do it.
//   - [WriteConfig] and [WriteAlertConfig] write what monit is configured by.
//
// monit's alerts come by mail: package alert has the server for them.
package monit
