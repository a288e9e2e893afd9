package methods

import (
	"context"
	"io"
	"net/netip"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/digest"
)

func (m *Machine) networkMethods() []action.Method {
	all := []action.Method{{Name: "delete_arp_entries", Do: m.forgetNeighbors}}
	if m.Hosts != nil {
		all = append(all,
			action.Method{Name: "sync_dns", Do: m.syncDNS},
			action.Method{Name: "sync_dns_with_signed_url", Do: m.syncDNSSigned})
	}
	return all
}

// Neighbors is the argument of delete_arp_entries.
type Neighbors struct {
	IPs []netip.Addr `json:"ips" validate:"max=1000"`
}

// forgetNeighbors goes on after a failure, and does not tell: a director only wants those gone that are there.
func (m *Machine) forgetNeighbors(ctx context.Context, n Neighbors) (none, error) {
	if m.cfg.ForgetNeighbor == nil {
		return none{}, nil
	}
	for _, ip := range n.IPs {
		if err := m.cfg.ForgetNeighbor(ctx, ip); err != nil {
			m.log.Warn("agent.neighbor.kept", "ip", ip, "error", err)
		}
		if ctx.Err() != nil {
			return none{}, context.Cause(ctx)
		}
	}
	return none{}, nil
}

const synced = "synced"

func (m *Machine) syncDNS(ctx context.Context, blobID string, d digest.Digest, version uint64) (string, error) {
	return synced, m.Hosts.Sync(ctx, version, func(ctx context.Context) (io.ReadCloser, error) {
		return fetched(m.Blobs.Get(ctx, blobID, d))
	})
}

// SignedDNS is the argument of sync_dns_with_signed_url.
type SignedDNS struct {
	URL     string            `json:"signed_url" validate:"required"`
	Digest  digest.Digest     `json:"multi_digest"`
	Version uint64            `json:"version"`
	Headers map[string]string `json:"blobstore_headers"`
}

func (m *Machine) syncDNSSigned(ctx context.Context, r SignedDNS) (string, error) {
	if r.Digest.IsZero() {
		return "", digest.ErrNone
	}
	return synced, m.Hosts.Sync(ctx, r.Version, func(ctx context.Context) (io.ReadCloser, error) {
		return fetched(m.Blobs.GetSigned(ctx, r.URL, r.Headers, r.Digest))
	})
}
