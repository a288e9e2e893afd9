package methods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/agent/action"
)

// oldMethods are those that agents had until 2018, for machines whose networks change and for images with a whole platform.
func (m *Machine) oldMethods() []action.Method {
	return []action.Method{
		{Name: "prepare_network_change", Do: m.prepareNetworkChange},
		{Name: "prepare_configure_networks", Do: m.prepareNetworkChange},
		{Name: "configure_networks", Async: true, Do: m.configureNetworks, Resume: m.networksConfigured},
		{Name: "release_apply_spec", Do: m.releaseApplySpec},
	}
}

// udevRules remember which network card had which name.
const udevRules = "etc/udev/rules.d/70-persistent-net.rules"

// prepareNetworkChange forgets the settings and ends the process, to be started with new ones.
func (m *Machine) prepareNetworkChange(context.Context) (any, error) {
	if err := m.Loader.Forget(); err != nil {
		return nil, err
	}
	if err := m.removeUdevRules(); err != nil {
		return nil, fmt.Errorf("Removing network rules: %w", err)
	}
	m.endProcess(ErrRestart)
	if m.cfg.Legacy {
		return true, nil
	}
	return "ok", nil
}

func (m *Machine) removeUdevRules() error {
	if m.cfg.SystemRoot == "" {
		return nil
	}
	root, err := os.OpenRoot(m.cfg.SystemRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(udevRules); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// configureNetworks restarts the process: networks are set up when it starts.
func (m *Machine) configureNetworks(ctx context.Context) (string, error) { return "", m.leave(ctx) }

func (m *Machine) networksConfigured(context.Context) (any, error) { return "ok", nil }

// maxApplySpec bounds the spec that an image brings along, in bytes.
const maxApplySpec = 16 << 20

// releaseApplySpec is the spec that an image of a whole platform brings along, in the form of either agent.
func (m *Machine) releaseApplySpec(context.Context) (map[string]any, error) {
	root, err := os.OpenRoot(m.cfg.Base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var spec map[string]any
	data, err := readBounded(root, "micro/apply_spec.json")
	if err == nil {
		err = json.Unmarshal(data, &spec)
	} else if errors.Is(err, fs.ErrNotExist) {
		if data, err = readBounded(root, "micro/apply_spec.yml"); err == nil {
			err = yaml.Unmarshal(data, &spec)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("Getting release apply spec: %w", err)
	}
	return spec, nil
}

func readBounded(root *os.Root, name string) ([]byte, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxApplySpec+1))
	if err == nil && len(data) > maxApplySpec {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxApplySpec)
	}
	return data, err
}
