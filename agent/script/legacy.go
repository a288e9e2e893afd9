package script

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/deakit/deakit/agent/spec"
)

// number is what the Ruby agent takes for one.
var number = regexp.MustCompile(`^-?[0-9]+\n?$`)

// drainLegacy runs the one script that the Ruby agent knows, and returns its number: the director waits so long, and asks
// for the status if it is negative.
func (r *Runner) drainLegacy(ctx context.Context, current spec.Spec, what change) (int, error) {
	job := cmp.Or(current.Job.Template, "job")
	if err := spec.CheckName("job", job); err != nil {
		return 0, err
	}
	s, err := r.at(job, "drain")
	if s.path == "" || err != nil {
		return 0, err
	}
	// The states are always null there.
	env := append([]string{"PATH=" + scriptPath}, r.cfg.Env...)
	env = append(env, "BOSH_CURRENT_STATE=null", "BOSH_APPLY_SPEC=null")
	said, status, err := r.ask(ctx, s, what, env)
	if ctx.Err() != nil {
		return 0, &CancelledError{context.Cause(ctx)}
	}
	if err != nil {
		return 0, err
	}
	if status != 0 || !number.MatchString(said) {
		return 0, fmt.Errorf("Drain script exit %d: %s", status, said)
	}
	return strconv.Atoi(strings.TrimSpace(said))
}
