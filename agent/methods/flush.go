package methods

import (
	"context"
	"net/netip"

	"github.com/deakit/deakit/internal/program"
)

// FlushNeighbor makes the kernel forget the hardware address of an IP address, for Config.ForgetNeighbor. It needs root.
func FlushNeighbor(ctx context.Context, ip netip.Addr) error {
	_, err := program.Run(ctx, "ip", "neigh", "flush", "to", ip.String())
	return err
}
