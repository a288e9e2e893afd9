// Package action turns Go functions into the methods of an agent.
//
// A [Method] names a function whose parameters say what arguments it takes. [New] checks all methods once; then a
// [Registry] finds them by name, and [Action.Bind] reads the JSON arguments of a request into the parameters:
//
//	registry, err := action.New(
//		action.Method{Name: "ping", Do: func(context.Context) (string, error) { return "pong", nil }},
//		action.Method{Name: "mount_disk", Async: true, Do: disks.Mount}, // func(context.Context, string) (struct{}, error)
//	)
//
// What goes wrong with the arguments is told in the words of the Go agent (bosh-agent), which clients know, and before the
// function is called. The package knows nothing of NATS, HTTP and tasks.
package action
