package backends

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/container/runc/userns"
)

// Variables of the environment of processes that this package starts, or replaces its own by.
const (
	trialEnv     = "DEAKIT_RUNC_TRIAL"     // the configuration to look at, as JSON
	namespaceEnv = "DEAKIT_RUNC_NAMESPACE" // the file of the namespace that the process is in
)

// trialArgument is the only argument of the process of a trial: a program that does not call Begin refuses it.
const trialArgument = "--deakit-runc-trial"

// trialEnd is how long the process of a trial has to clean up when its time is over.
const trialEnd = 20 * time.Second

// Begin is called first in main: there it ends the processes that Examine started, once they have answered.
func Begin() {
	text, ok := os.LookupEnv(trialEnv)
	if !ok {
		return
	}
	// Whatever ends it, it removes its container first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var cfg Config
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		opts := cfg.runc()
		opts.Logger = nil // what it says is in the findings
		err = json.NewEncoder(os.Stdout).Encode(runc.Doctor(ctx, opts))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Enter goes on in a user namespace if an ordinary user is to have runc containers: then it does not return, and the
// program begins anew, as root of the namespace. It is called before anything is started or held, and in the same way by
// that second beginning, in which it does nothing.
func Enter(ctx context.Context, name string, cfg Config) error {
	if os.Geteuid() == 0 {
		return nil
	}
	choice, err := Choose(ctx, name, cfg)
	if err != nil || choice.Name != Runc {
		return err
	}
	err = enter(ctx, cfg)
	if errors.Is(err, userns.ErrRefused) {
		err = fmt.Errorf("%w: the doctor tells more", err)
	}
	return err
}

func enter(ctx context.Context, cfg Config) error {
	if cfg.Fresh { // nobody needs to find it
		ns, err := userns.New(ctx)
		if err != nil {
			return err
		}
		return ns.Enter(os.Args, os.Environ())
	}
	file := cfg.depot(Runc) + ".namespace"
	ns, err := userns.Open(ctx, file)
	if err != nil {
		return err
	}
	return ns.Enter(os.Args, append(os.Environ(), namespaceEnv+"="+file))
}

// withoutRoot tells whether what looks like root is not that of the machine, or does not look so.
func withoutRoot() bool {
	ids, err := userns.Current()
	return os.Geteuid() != 0 || err == nil && ids.Inside
}

// examineInside looks what is missing in a namespace, by a process of this program.
func examineInside(ctx context.Context, cfg Config) (findings []runc.Finding, err error) {
	ns, err := userns.New(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ns.End(context.WithoutCancel(ctx))) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg.Logger = nil
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	cmd := ns.Command(ctx, self, trialArgument)
	cmd.Env = append(os.Environ(), trialEnv+"="+string(text))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = trialEnd
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return nil, fmt.Errorf("%w: %.500s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	if err == nil {
		err = json.Unmarshal(out, &findings)
	}
	return findings, err
}

// endNamespace ends the namespace that Enter made, when its last container is gone.
func endNamespace(ctx context.Context, cfg Config) error {
	file, ok := os.LookupEnv(namespaceEnv)
	if !ok || file != cfg.depot(Runc)+".namespace" {
		return nil
	}
	return userns.End(ctx, file)
}
