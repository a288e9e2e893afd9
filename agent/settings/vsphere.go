package settings

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/deakit/deakit/internal/program"
)

// VsphereGuestInfo is a variable of the hypervisor. It can be read once: it is overwritten as soon as what it said is
// safe, since everybody on the machine could read it.
type VsphereGuestInfo struct {
	RPCToolPath string         // default vmware-rpctool
	VMToolsPath string         // default vmtoolsd; asked when the other one fails
	Run         program.Runner // default program.Run
}

// Settings reads the variable.
func (v VsphereGuestInfo) Settings(ctx context.Context) (*Settings, error) {
	text, err := v.call(ctx, "info-get guestinfo.userdata")
	if err != nil {
		return nil, fmt.Errorf("guest info: %w", err)
	}
	data, err := decodeGuestInfo(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("guest info: %w", err)
	}
	s, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("guest info: %w", err)
	}
	return s, nil
}

// Wipe overwrites the variable.
func (v VsphereGuestInfo) Wipe(ctx context.Context) error {
	for _, command := range []string{"info-set guestinfo.userdata ---", "info-set guestinfo.userdata.encoding "} {
		if _, err := v.call(ctx, command); err != nil {
			return fmt.Errorf("guest info: wipe out: %w", err)
		}
	}
	return nil
}

// PublicSSHKey is none.
func (VsphereGuestInfo) PublicSSHKey(context.Context) (string, error) { return "", nil }

func (v VsphereGuestInfo) call(ctx context.Context, command string) (string, error) {
	run := v.Run
	if run == nil {
		run = program.Run
	}
	out, err := run(ctx, cmp.Or(v.RPCToolPath, "vmware-rpctool"), command)
	if err == nil {
		return string(out), nil
	}
	out, fault := run(ctx, cmp.Or(v.VMToolsPath, "vmtoolsd"), "--cmd", command)
	if fault != nil {
		return "", errors.Join(err, fault)
	}
	return string(out), nil
}

// decodeGuestInfo reads base64, of gzip or not.
func decodeGuestInfo(text string) ([]byte, error) {
	if text == "" || text == "---" {
		return nil, ErrNoSettings
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("user data are no base64")
	}
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("user data: %w", err)
	}
	return readAll(r, "user data")
}
