package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deakit/deakit/messaging"
)

// Ping asks whether the agent is there.
func (c *Client) Ping(ctx context.Context) error {
	_, err := call[string](ctx, c, "ping")
	return err
}

// Info tells what an agent can do.
type Info struct {
	APIVersion int `json:"api_version"` // 1 or more: run_errand takes a name; 0: older than this question
}

// Info asks what the agent can do.
func (c *Client) Info(ctx context.Context) (Info, error) {
	info, err := call[Info](ctx, c, "info")
	if errors.Is(err, ErrUnsupported) {
		return Info{}, nil
	}
	return info, err
}

// State is what an agent says of its machine; agents of all ages fill in what they know.
type State struct {
	AgentID    string                     `json:"agent_id"`
	JobState   messaging.JobState         `json:"job_state"`
	Protocol   messaging.Text             `json:"bosh_protocol"`
	Deployment messaging.Text             `json:"deployment"`
	Name       messaging.Text             `json:"name"` // of the instance group
	ID         messaging.Text             `json:"id"`   // of the instance
	AZ         messaging.Text             `json:"az"`
	Index      *messaging.Int             `json:"index"`
	Networks   map[string]NetworkState    `json:"networks"`
	Processes  []messaging.AgentProcess   `json:"processes"`
	VM         map[string]json.RawMessage `json:"vm"`
	Vitals     *messaging.AgentVitals     `json:"vitals"` // of FullState only
	All        map[string]json.RawMessage `json:"-"`      // everything, as it came
}

// NetworkState is the address in one network.
type NetworkState struct {
	IP      string `json:"ip"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *State) UnmarshalJSON(data []byte) error {
	type plain State
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err
	}
	return json.Unmarshal(data, &s.All)
}

// State asks how the machine is.
func (c *Client) State(ctx context.Context) (State, error) { return run[State](ctx, c, "get_state") }

// FullState asks for vitals too.
func (c *Client) FullState(ctx context.Context) (State, error) {
	return run[State](ctx, c, "get_state", "full")
}

// Shutdown powers the machine off; agents of before 2018 only end themselves.
func (c *Client) Shutdown(ctx context.Context) error { return c.done(ctx, "shutdown") }

// RemoveFile removes a file or a directory with all that is in it.
func (c *Client) RemoveFile(ctx context.Context, path string) error {
	return c.done(ctx, "remove_file", path)
}

// DeleteARPEntries makes the machine forget the hardware addresses of these IP addresses.
func (c *Client) DeleteARPEntries(ctx context.Context, ips []string) error {
	return c.done(ctx, "delete_arp_entries", struct {
		IPs []string `json:"ips"`
	}{ips})
}

// SyncDNS makes the agent fetch DNS records from a blob, unless it has this version or a later one.
func (c *Client) SyncDNS(ctx context.Context, blobID, digest string, version uint64) (string, error) {
	return run[string](ctx, c, "sync_dns", blobID, digest, version)
}

// SignedDNS says where DNS records are.
type SignedDNS struct {
	URL     string            `json:"signed_url"`
	Digest  string            `json:"multi_digest"`
	Version uint64            `json:"version"`
	Headers map[string]string `json:"blobstore_headers,omitempty"` // to be sent with the download
}

// SyncDNSWithSignedURL is SyncDNS for records at a URL.
func (c *Client) SyncDNSWithSignedURL(ctx context.Context, records SignedDNS) (string, error) {
	return run[string](ctx, c, "sync_dns_with_signed_url", records)
}

// UploadBlob gives the agent a blob that its methods find by its id. The digest is one of agent/digest: bare SHA-1, or
// "sha256:…". Over NATS the blob has to fit into one message.
func (c *Client) UploadBlob(ctx context.Context, id, digest string, content []byte) error {
	return c.done(ctx, "upload_blob", struct {
		ID       string `json:"blob_id"`
		Checksum string `json:"checksum"`
		Payload  string `json:"payload"`
	}{id, digest, base64.StdEncoding.EncodeToString(content)})
}

// UpdateSettings is what an agent can be told to have from now on.
type UpdateSettings struct {
	TrustedCerts     string            `json:"trusted_certs"`     // PEM, one behind the other; empty removes all
	DiskAssociations []DiskAssociation `json:"disk_associations"` // all there are
	Mbus             *Mbus             `json:"mbus,omitempty"`    // nil: as before. Another one restarts the agent
	Blobstores       json.RawMessage   `json:"blobstores,omitempty"`
}

// DiskAssociation gives a disk a name.
type DiskAssociation struct {
	Name string `json:"name"`
	CID  string `json:"cid"`
}

// Mbus is how an agent reaches its director.
type Mbus struct {
	Cert MbusCert `json:"cert"`
	URLs []string `json:"urls"`
}

// MbusCert has PEM texts.
type MbusCert struct {
	CA          string `json:"ca"`
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"private_key"`
}

// UpdateSettings changes settings. An agent that restarts for it is waited for.
func (c *Client) UpdateSettings(ctx context.Context, settings UpdateSettings) error {
	if settings.DiskAssociations == nil {
		settings.DiskAssociations = []DiskAssociation{}
	}
	return c.done(ctx, "update_settings", settings)
}

// The methods of agents of before 2018-02 for networks that change.

// PrepareNetworkChange makes the agent forget its settings and end, to be started with new ones.
func (c *Client) PrepareNetworkChange(ctx context.Context) error {
	return c.done(ctx, "prepare_network_change")
}

// PrepareConfigureNetworks is the same by its later name.
func (c *Client) PrepareConfigureNetworks(ctx context.Context) error {
	return c.done(ctx, "prepare_configure_networks")
}

// ConfigureNetworks waits until the agent has its new networks.
func (c *Client) ConfigureNetworks(ctx context.Context) error {
	return c.done(ctx, "configure_networks")
}

// ReleaseApplySpec is the spec that an image of a whole platform brings along.
func (c *Client) ReleaseApplySpec(ctx context.Context) (json.RawMessage, error) {
	return c.Run(ctx, "release_apply_spec")
}

// SSH is what came of a request about ssh.
type SSH struct {
	Command string `json:"command"`
	Status  string `json:"status"` // "success"
	IP      string `json:"ip"`
	HostKey string `json:"host_public_key"` // today's agents
	Error   string `json:"error"`           // old agents
}

// SetUpSSH makes a user who may log in with a public key.
func (c *Client) SetUpSSH(ctx context.Context, user, publicKey string) (SSH, error) {
	return c.ssh(ctx, "setup", map[string]string{"user": user, "public_key": publicKey})
}

// CleanUpSSH removes users whose names match a regular expression and begin with "bosh_".
func (c *Client) CleanUpSSH(ctx context.Context, userRegex string) (SSH, error) {
	return c.ssh(ctx, "cleanup", map[string]string{"user_regex": userRegex})
}

// ssh has old agents fail in the way of new ones.
func (c *Client) ssh(ctx context.Context, command string, params map[string]string) (SSH, error) {
	result, err := run[SSH](ctx, c, "ssh", command, params)
	if err == nil && result.Status != "success" {
		err = &RemoteError{Method: "ssh", Message: fmt.Sprintf("%s: status %.80q %s", command, result.Status, result.Error)}
	}
	return result, err
}
