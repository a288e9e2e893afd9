package warden

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// rlimits merges those of a request over those of the server. The ones that container.Rlimits has no word for come as
// commands for bash, which lower a limit that is too high to what is allowed.
func (s *Server) rlimits(asked *protocol.ResourceLimits) (container.Rlimits, string) {
	r := proto.CloneOf(s.cfg.Rlimits) // never in place: the next job has its own
	if asked != nil {
		proto.Merge(r, asked)
	}
	var rest strings.Builder
	for _, l := range []struct {
		option string
		value  *uint64
		unit   uint64
	}{
		{"d", r.Data, 1024}, {"x", r.Locks, 1}, {"l", r.Memlock, 1024}, {"q", r.Msgqueue, 1}, {"e", r.Nice, 1},
		{"m", r.Rss, 1024}, {"r", r.Rtprio, 1}, {"i", r.Sigpending, 1},
	} {
		if l.value == nil {
			continue
		}
		value := "unlimited"
		switch *l.value {
		case math.MaxUint64:
		case 0:
			value = "0"
		default:
			value = fmt.Sprint((*l.value-1)/l.unit + 1)
		}
		fmt.Fprintf(&rest, "ulimit -%[1]s %[2]s 2>/dev/null || ulimit -S -%[1]s $(ulimit -H -%[1]s)\n", l.option, value)
	}
	return container.Rlimits{
		NoFile: r.Nofile, NProc: r.Nproc, FSize: r.Fsize, Core: r.Core, AS: r.As, CPU: r.Cpu, Stack: r.Stack,
	}, rest.String()
}
