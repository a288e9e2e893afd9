package monit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DaemonConfig says how monit is run.
type DaemonConfig struct {
	Config  string        // path of its configuration, as [WriteConfig] writes it; required
	Program string        // default "monit"
	Pause   time.Duration // before it is started again when it has ended; default 1 s. Twice as long each time, up to a minute
	Logger  *slog.Logger  // nil discards; gets what monit prints, which it logs to a file besides
}

// A Daemon keeps monit running as a child, as the Ruby agent does. The services that monit has started go on without it.
type Daemon struct {
	cfg DaemonConfig
	log *slog.Logger

	restarts chan chan struct{} // each asks Run for a new monit, and is closed when there is one
	mu       sync.Mutex
	ended    chan struct{} // closed when Run has ended; nil before
}

// NewDaemon returns a Daemon that Run starts.
func NewDaemon(cfg DaemonConfig) (*Daemon, error) {
	if cfg.Config == "" {
		return nil, errors.New("monit: DaemonConfig.Config is missing: the path of monit's configuration")
	}
	if cfg.Program == "" {
		cfg.Program = "monit"
	}
	if cfg.Pause <= 0 {
		cfg.Pause = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Daemon{cfg: cfg, log: cfg.Logger, restarts: make(chan chan struct{})}, nil
}

// Run keeps monit running until ctx ends, then ends it and returns nil. One that an agent left which was killed is ended first; its
// services go on. It fails when monit cannot be started at all. Call it once.
func (d *Daemon) Run(ctx context.Context) error {
	ended := make(chan struct{})
	defer close(ended)
	d.mu.Lock()
	d.ended = ended
	d.mu.Unlock()
	if err := d.endOrphans(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("run monit: %w", err)
	}
	var told chan struct{} // who waits for the next monit
	pause := d.cfg.Pause
	for {
		began := time.Now()
		cmd := exec.Command(d.cfg.Program, "-I", "-c", d.cfg.Config)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what is typed at a terminal does not reach it
		output := &lastBytes{}
		cmd.Stdout, cmd.Stderr = output, output
		cmd.WaitDelay = time.Second // services may hold its output open
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("run monit: %w", err)
		}
		died := make(chan error, 1)
		go func() { died <- cmd.Wait() }()
		if told != nil {
			close(told)
			told = nil
		}
		select {
		case <-ctx.Done():
			end(cmd, died)
			return nil
		case told = <-d.restarts:
			end(cmd, died)
		case err := <-died:
			if time.Since(began) >= maxPause {
				pause = d.cfg.Pause
			}
			d.log.Error("monit.ended", "error", err, "output", output.String(), "again_after", pause)
			select {
			case <-time.After(pause):
				pause = max(min(2*pause, maxPause), d.cfg.Pause)
			case told = <-d.restarts:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// maxPause bounds the pause before monit is started again. One that has run for so long is not one that ends at once.
const maxPause = time.Minute

// checkTime is how long monit may take to read its configuration.
const checkTime = 30 * time.Second

// check has monit read its configuration. What is wrong with it is said in monit's own words.
func (d *Daemon) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.cfg.Program, "-t", "-c", d.cfg.Config)
	output := &lastBytes{}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("monit refuses its configuration: %w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}

// end ends monit: with TERM, so that it writes its state, and with KILL when it does not take that.
func end(cmd *exec.Cmd, died <-chan error) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case <-died:
		return
	case <-time.After(5 * time.Second):
	}
	_ = cmd.Process.Kill()
	<-died
}

// Restart ends monit and returns when another one has been started, which does not answer yet. It fails while Run does not run, and
// when monit refuses its configuration as it is now, in which case the one that runs goes on.
func (d *Daemon) Restart(ctx context.Context) error {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	if ended == nil {
		return errors.New("restart monit: it does not run")
	}
	select {
	case <-ended:
		return errors.New("restart monit: it does not run any more")
	default:
	}
	if err := d.check(ctx); err != nil {
		return fmt.Errorf("restart monit: %w", err)
	}
	started := make(chan struct{})
	select {
	case d.restarts <- started:
	case <-ended:
		return errors.New("restart monit: it does not run any more")
	case <-ctx.Done():
		return fmt.Errorf("restart monit: %w", context.Cause(ctx))
	}
	select {
	case <-started:
		return nil
	case <-ended:
		return errors.New("restart monit: it does not run any more")
	case <-ctx.Done():
		return fmt.Errorf("restart monit: %w", context.Cause(ctx))
	}
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu   sync.Mutex
	data []byte
}

func (l *lastBytes) Write(p []byte) (int, error) {
	const most = 2 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, p...)
	l.data = l.data[max(len(l.data)-most, 0):]
	return len(p), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.data)
}
