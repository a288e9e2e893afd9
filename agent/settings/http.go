package settings

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// HTTP is the metadata service of a cloud. Its user data are the settings, or name the registry that has them.
type HTTP struct {
	URI            string // http://169.254.169.254
	Headers        map[string]string
	UserDataPath   string // /latest/user-data
	InstanceIDPath string // /latest/meta-data/instance-id, by which a registry knows the machine; empty for none
	SSHKeysPath    string // /latest/meta-data/public-keys/0/openssh-key; empty for no keys
	TokenPath      string // /latest/api/token, where every request needs a token (IMDSv2); empty where not

	// UseServerName makes a registry know the machine by the server name of the user data, as in OpenStack.
	UseServerName bool

	// InjectedFile has user data where the service has none: /var/vcap/bosh/user_data.json in OpenStack. Empty for none.
	InjectedFile string

	Retry Retry
}

// Settings asks for user data, and a registry if need be.
func (h HTTP) Settings(ctx context.Context) (*Settings, error) {
	data, err := h.userData(ctx)
	if err != nil {
		return nil, err
	}
	s, err := data.settings()
	if !errors.Is(err, ErrNoSettings) || data.Registry.Endpoint == "" {
		return s, err
	}
	id := data.Server.Name
	if !h.UseServerName {
		if id, err = h.instanceID(ctx); err != nil {
			return nil, err
		}
	}
	registry := Registry{Endpoint: data.Registry.Endpoint, InstanceID: id, Nameservers: data.DNS.Nameserver, Retry: h.Retry}
	return registry.Settings(ctx)
}

// PublicSSHKey asks for the key, which the service need not have; then for that of an injected file.
func (h HTTP) PublicSSHKey(ctx context.Context) (string, error) {
	if h.SSHKeysPath == "" {
		return "", nil
	}
	key, err := h.get(ctx, h.SSHKeysPath, http.StatusNotFound)
	if err == nil {
		return strings.TrimSpace(string(key)), nil
	}
	if h.InjectedFile != "" {
		if injected, fault := h.injected(); fault == nil {
			return strings.TrimSpace(injected.OpenSSH.PublicKey), nil
		}
	}
	if status := (*StatusError)(nil); errors.As(err, &status) && status.Status == http.StatusNotFound {
		return "", nil
	}
	return "", fmt.Errorf("get public SSH key: %w", err)
}

func (h HTTP) userData(ctx context.Context) (*userData, error) {
	data, err := h.get(ctx, h.UserDataPath, 0)
	if err == nil {
		return parseUserData(data)
	}
	err = fmt.Errorf("get user data: %w", err)
	if h.InjectedFile == "" {
		return nil, err
	}
	injected, fault := h.injected()
	if fault != nil {
		return nil, errors.Join(err, fault)
	}
	return injected, nil
}

func (h HTTP) injected() (*userData, error) {
	data, err := readFile(h.InjectedFile)
	if err != nil {
		return nil, err
	}
	return parseUserData(data)
}

func (h HTTP) instanceID(ctx context.Context) (string, error) {
	if h.InstanceIDPath == "" {
		return "", errors.New("settings are in a registry: configure InstanceIDPath or UseServerName")
	}
	id, err := h.get(ctx, h.InstanceIDPath, 0)
	if err != nil {
		return "", fmt.Errorf("get instance id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

func (h HTTP) get(ctx context.Context, path string, final int) ([]byte, error) {
	headers := maps.Clone(h.Headers)
	if h.TokenPath != "" {
		token, err := h.Retry.request(ctx, http.MethodPut, h.URI+h.TokenPath,
			map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "300"}, 0)
		if err != nil {
			return nil, fmt.Errorf("get token: %w", err)
		}
		if headers == nil {
			headers = map[string]string{}
		}
		headers["X-aws-ec2-metadata-token"] = strings.TrimSpace(string(token))
	}
	return h.Retry.request(ctx, http.MethodGet, h.URI+path, headers, final)
}

// InstanceMetadata is a metadata service that has the settings at a path of their own.
type InstanceMetadata struct {
	URI          string
	Headers      map[string]string
	SettingsPath string
	Retry        Retry
}

// Settings asks for them.
func (i InstanceMetadata) Settings(ctx context.Context) (*Settings, error) {
	data, err := i.Retry.request(ctx, http.MethodGet, i.URI+i.SettingsPath, i.Headers, 0)
	if err != nil {
		return nil, fmt.Errorf("get settings: %w", err)
	}
	u, err := parseUserData(data)
	if err != nil {
		return nil, err
	}
	return u.settings()
}

// PublicSSHKey is none.
func (InstanceMetadata) PublicSSHKey(context.Context) (string, error) { return "", nil }
