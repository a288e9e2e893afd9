// Package network gives containers a network of their own, as Warden does: to each a pair of virtual interfaces with a
// /30 network from a pool, address translation to the outside, port mappings, and rules for what may go out.
//
// All rules stand in one nftables table of its own, and no other is looked at or changed:
//
//   - a container reaches nothing but what its rules allow; refused connections fail at once ("connection refused");
//   - link-local addresses (169.254.0.0/16) are allowed only by a rule for nothing but them;
//   - it reaches nothing on the host itself, not even what listens on all addresses, unless Config.AllowHost is set;
//   - it is reached, from the host, from other machines and from other containers, at mapped ports only.
//
// Nothing of this depends on the process that set it up: it goes on when that ends, and [Network.Setup] of a successor
// replaces the table in one transaction.
package network
