package main

import (
	"encoding/json"
	"strings"

	"github.com/deakit/deakit/agent/transport"
)

type settings struct {
	File string `arg:"" help:"JSON with trusted_certs, disk_associations, mbus, blobstores; - is standard input."`
}

func (s *settings) request() (request, error) {
	change, err := readJSON(s.File)
	return request{method: "update_settings", arguments: []any{change}, leaves: newSettings(change)}, err
}

// newSettings is what becomes of an agent that gets another bus or other blob stores.
func newSettings(change json.RawMessage) string {
	var parts struct {
		Mbus struct {
			URLs []string       `json:"urls"`
			Cert map[string]any `json:"cert"`
		} `json:"mbus"`
		Blobstores []any `json:"blobstores"`
	}
	switch err := json.Unmarshal(change, &parts); {
	case err != nil, len(parts.Mbus.URLs) == 0 && len(parts.Mbus.Cert) == 0 && parts.Blobstores == nil:
		return ""
	case len(parts.Mbus.URLs) > 0:
		return "the agent starts again with the new settings, at " + transport.BusHosts(strings.Join(parts.Mbus.URLs, ","))
	}
	return "the agent starts again with the new settings"
}
