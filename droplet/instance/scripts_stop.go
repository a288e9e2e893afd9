package instance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerexec"
)

// stopScriptTime bounds the stop script, together with the end of the app that it brings about.
const stopScriptTime = 10 * time.Second

// callStop runs stop in the directory of the droplet, if there is one.
const callStop = `if [ -x stop ]; then exec ./stop "$1" 2>/dev/null; fi`

// stopByScript has the stop script of the droplet end the app. What is not over then is ended with the container, so no
// failure keeps an instance from being stopped.
func (l *life) stopByScript(ctx context.Context) {
	if !l.Status().Scripts || l.ended() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopScriptTime)
	defer cancel()
	if err := l.runStop(ctx); err != nil {
		l.log.Warn("droplet.stop-script.failed", "error", err)
	}
}

func (l *life) runStop(ctx context.Context) error {
	pid, err := l.appPID(ctx)
	if err != nil {
		return err
	}
	// Its status is that of its last command, which may well be a kill of what is gone already.
	_, err = containerexec.Run(ctx, l.container, container.ProcessSpec{
		Path: "/bin/sh", Args: []string{"-c", callStop, "stop", strconv.Itoa(pid)},
		Dir: container.AppHome, Env: scriptsEnv(l.Instance, l.Status(), ""),
	}, container.IO{})
	if err != nil {
		return fmt.Errorf("stop %d: %w", pid, err)
	}
	select {
	case <-l.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %d: the app has not ended %v later", pid, stopScriptTime)
	}
}

var firstInteger = regexp.MustCompile(`-?[0-9]+`)

// appPID is the pid that startup has told, which means something in the container only. It is what a script is about to kill:
// a number that stands for several processes, or for the first one, is refused.
func (l *life) appPID(ctx context.Context) (int, error) {
	text, err := l.readHome(ctx, "run.pid")
	if err != nil {
		return 0, fmt.Errorf("run.pid: %w", err)
	}
	pid, err := strconv.Atoi(firstInteger.FindString(text))
	if err != nil || pid < 2 {
		return 0, errors.New("run.pid holds no pid of the app")
	}
	return pid, nil
}
