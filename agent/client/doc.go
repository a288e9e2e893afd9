// Package client drives BOSH agents, over HTTPS as the command line tools do or over NATS as a director does.
//
// A [Client] has a Go method for each method of an agent; those that take long are followed until they have ended:
//
//	transport, err := client.NewHTTPS(client.HTTPSConfig{URL: "https://vcap:password@10.0.0.21:6868", CA: pem})
//	...
//	agent := client.New(client.Config{Transport: transport, ReplyTo: "my-tool"})
//	err = agent.MountDisk(ctx, "disk-9a")
//
// What goes wrong at the agent is a [*RemoteError]. [Client.Start] gives a [Task] to follow or cancel, [Client.Call] and
// [Client.Run] are for methods of one's own. Agents of all ages are understood: exceptions that are bare strings, output in
// blobs, direct answers where a task is expected. Requests have the exact form of the public client of bosh-agent.
package client
