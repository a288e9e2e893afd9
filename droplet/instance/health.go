package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
)

var errUnhealthy = errors.New("the app did not become healthy in time")

// The pauses between two looks. The first looks come close together: most apps are up within the first second.
const (
	firstPause = 2 * time.Millisecond
	portPause  = 10 * time.Millisecond
	filePause  = 50 * time.Millisecond
)

// awaitHealth waits until the app is ready: as its state file says, else when its port accepts, else at once. The end of
// the process ends the wait.
func (l *life) awaitHealth(ctx context.Context) error {
	check, limit, pause := l.portOpen, l.cfg.HealthCheckTimeout, portPause
	if seconds := l.message.HealthCheckTimeout; seconds > 0 {
		limit = time.Duration(min(seconds, 24*60*60)) * time.Second // more would overflow, and nobody waits for it
	}
	stateFile, err := l.stateFile(ctx)
	switch {
	case err != nil:
		return err
	case stateFile != "":
		check, limit, pause = func(ctx context.Context) bool { return l.stateRunning(ctx, stateFile) }, l.cfg.StateFileTimeout, filePause
	case len(l.Status().URIs) == 0:
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errUnhealthy)
	defer cancel()
	for wait := firstPause; ; wait = min(wait*5/4, pause) {
		if check(ctx) {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-l.exited:
			return l.exitedError()
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errUnhealthy) {
				l.log.Warn("droplet.unhealthy", "timeout", limit)
			}
			return context.Cause(ctx)
		}
	}
}

func (l *life) portOpen(ctx context.Context) bool {
	s := l.Status()
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.Container.HostIP, strconv.Itoa(int(s.HostPort))))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// stateFile returns the path of the file that tells when the app is ready, empty if the droplet names none.
func (l *life) stateFile(ctx context.Context) (string, error) {
	data, err := containerfs.ReadFile(ctx, l.container, path.Join(container.AppHome, "droplet.yaml"), smallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, err := stateFileOf(data)
	if err != nil {
		return "", fmt.Errorf("droplet.yaml: %w", err)
	}
	if name == "" {
		return "", nil
	}
	return path.Join(container.AppHome, path.Clean("/"+name)), nil
}

// stateFileOf returns the state_file that a droplet.yaml names; the last one counts. The file is the app's own, so its nodes
// are read one by one: decoding into Go types compares all keys with each other, and keeps an error for each two that are
// alike, for which a few kilobytes are enough to take all memory of the node.
func stateFileOf(data []byte) (name string, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return "", err
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		return "", nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return "", errors.New("content is not a map")
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if key, value := top.Content[i], top.Content[i+1]; key.Kind == yaml.ScalarNode && key.Value == "state_file" {
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if value.Kind != yaml.ScalarNode {
				return "", errors.New("state_file is not text")
			}
			if name = value.Value; value.ShortTag() == "!!null" {
				name = ""
			}
		}
	}
	return name, nil
}

func (l *life) stateRunning(ctx context.Context, file string) bool {
	data, err := containerfs.ReadFile(ctx, l.container, file, smallFile)
	if err != nil {
		return false // not there yet, or just being replaced
	}
	var state struct {
		State string `json:"state"`
	}
	return json.Unmarshal(data, &state) == nil && state.State == "RUNNING"
}
