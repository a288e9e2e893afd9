// Package node puts a whole BOSH agent together: settings, bus, blob stores, disks, the supervisor of the jobs, health and
// all methods, in the order in which a machine comes up.
//
// A [Node] is built by [New] from a [Config], starts nothing by itself, and is an agent for as long as [Node.Run] runs:
//
//	n, err := node.New(node.Config{
//		Source:     settings.File{Path: "/var/vcap/bosh/warden-cpi-agent-env.json"},
//		Supervisor: node.Monit,
//	})
//	err = n.Run(ctx)
//
// What it does to the machine beyond its base directory it does only as far as the Config says: Root for what stands in etc,
// Machine for users, names, disks and networks, Tmpfs for what is to be in memory. An image that is made for an agent has some of
// that already; see [Keys], [Passwords], [Hostname], [EphemeralDisk] and [Program] for what the originals do themselves.
//
// The parts stand alone: who needs another order, or only some of them, takes them from the packages beside this one.
package node
