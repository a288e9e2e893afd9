package methods

import (
	"context"
	"errors"

	"github.com/deakit/deakit/agent/action"
)

func (m *Machine) sshMethods() []action.Method {
	if m.Users == nil {
		return nil
	}
	return []action.Method{{Name: "ssh", Do: m.ssh}}
}

// SSHParams is the second argument of ssh. A password is passed over: keys are safer, and today's agents take no other.
type SSHParams struct {
	User      string  `json:"user"`       // of setup
	PublicKey string  `json:"public_key"` // of setup
	UserRegex *string `json:"user_regex"` // of cleanup
}

// SSHResult is the result of ssh.
type SSHResult struct {
	Command string `json:"command"`
	Status  string `json:"status"`
	IP      string `json:"ip,omitempty"`              // of setup
	HostKey string `json:"host_public_key,omitempty"` // of setup
	Error   string `json:"error,omitempty"`           // with an agent of old
}

var (
	errSSHCommand = errors.New("Unknown command for SSH method")
	errNoUsers    = errors.New("user_regex is missing: say whose users are to be removed")
)

// ssh of an agent of old does not fail: what went wrong is in the result, which is null for a command that it does not know.
func (m *Machine) ssh(ctx context.Context, command string, params SSHParams) (*SSHResult, error) {
	result, err := m.doSSH(ctx, command, params)
	if err == nil {
		result.Command, result.Status = command, "success"
		return &result, nil
	}
	switch {
	case !m.cfg.Legacy:
		return nil, err
	case errors.Is(err, errSSHCommand):
		return nil, nil
	case errors.Is(err, errNoUsers):
		return &SSHResult{Command: command, Status: "bad_user"}, nil
	default:
		return &SSHResult{Command: command, Status: "failure", Error: err.Error()}, nil
	}
}

func (m *Machine) doSSH(ctx context.Context, command string, params SSHParams) (result SSHResult, err error) {
	switch command {
	case "setup":
		// What can be missing is looked for before anything is done.
		ip, ok := m.Settings.Networks.DefaultIP()
		if !ok {
			return result, errors.New("No default ip could be found")
		}
		key, err := m.Users.HostKey()
		if err != nil {
			return result, err
		}
		return SSHResult{IP: ip, HostKey: key}, m.Users.Setup(ctx, params.User, params.PublicKey)
	case "cleanup":
		if params.UserRegex == nil {
			return result, errNoUsers
		}
		removed, err := m.Users.Cleanup(ctx, *params.UserRegex)
		if len(removed) > 0 {
			m.log.Info("agent.ssh.removed", "users", removed)
		}
		return result, err
	default:
		return result, errSSHCommand
	}
}
