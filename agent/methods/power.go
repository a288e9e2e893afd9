package methods

import (
	"context"
	"fmt"

	"github.com/deakit/deakit/agent/action"
)

func (m *Machine) powerMethods() []action.Method {
	return []action.Method{{Name: "shutdown", Do: m.shutdown}}
}

// shutdown powers the machine off. An agent of old only ends itself.
func (m *Machine) shutdown(ctx context.Context) (string, error) {
	if m.cfg.Legacy {
		m.endProcess(ErrShutdown)
		return "shutdown", nil
	}
	if m.cfg.PowerOff == nil {
		return "", nil
	}
	if err := m.cfg.PowerOff(ctx); err != nil {
		return "", fmt.Errorf("Shutting down: %w", err)
	}
	return "", nil
}
