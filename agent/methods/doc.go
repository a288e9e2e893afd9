// Package methods has the methods of a BOSH agent that work on its machine: all that a director, old or new, or a command
// line may call, beside those that the agent answers by itself (package agent).
//
// A [Machine] binds the parts below agent (settings, blobs, disks, jobs, a supervisor, ...) to the names, arguments and
// results of the protocol:
//
//	machine, err := methods.New(methods.Config{AgentID: id, Base: "/var/vcap"}, methods.Parts{
//		Loader: loader, Settings: loaded, Blobs: blobs, Sensitive: sensitive, Supervisor: monit, Disks: disks,
//	})
//	...
//	a, err := agent.New(agent.Config{ID: id, Methods: machine.Methods(), ...})
//	...
//	err = machine.Boot(ctx) // before the agent takes requests
//	group.Go(func() error { return machine.Run(ctx) }) // beside it; methods.ErrRestart ends the process
//
// What changes the machine is done one thing at a time, and who waits for that can be sent away; what only asks never waits.
package methods
