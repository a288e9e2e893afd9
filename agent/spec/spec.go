package spec

import (
	"encoding/json"
	"errors"
)

// ErrInvalid is in every error about what a spec says.
var ErrInvalid = errors.New("invalid spec")

// A Spec is what a machine is to be, as it comes with apply, prepare and drain (API format v1). Its JSON has the members of
// the Go agent, in its order and with its zero values, and after them what else came with it, unchanged. So a director finds
// in get_state what it sent.
//
// Specs of 2012 are read too: a job may be "" or {}, an index "", persistent_disk and configuration_hash {}.
type Spec struct {
	Properties        json.RawMessage    // manifest properties; nil for none
	Job               Job                //
	Packages          map[string]Package // by name
	ConfigurationHash string             // empty: nothing is to be installed, the spec is only to be kept
	Networks          map[string]Network // by name
	ResourcePool      json.RawMessage    // nil for none
	Deployment        string
	Name              string // of the instance group
	Index             *int   // of the instance; nil for none
	ID                string // of the instance
	AZ                string
	PersistentDisk    int // MiB
	RenderedTemplates *Archive

	Extra map[string]json.RawMessage // members that are not listed above
}

// A Job is the instance group with its job templates.
type Job struct {
	Name      string
	Release   string
	Template  string // of the first template; specs of old have no other
	Version   string // of that
	Templates []Template
	SHA1      string // of the archive of the first template
	BlobID    string

	Extra map[string]json.RawMessage
}

// A Template is one job as releases have them: a directory below jobs.
type Template struct {
	Name    string
	Version string
	SHA1    string // of the archive of its own, which is of no use where there is a RenderedTemplates
	BlobID  string

	Extra map[string]json.RawMessage
}

// A Package is a compiled package and where to get it.
type Package struct {
	Name      string
	Version   string
	SHA1      string // multi-digest
	BlobID    string
	SignedURL string            // wins over BlobID
	Headers   map[string]string // for the signed URL

	Extra map[string]json.RawMessage
}

// An Archive holds the files of all job templates, rendered.
type Archive struct {
	BlobID string
	SHA1   string // multi-digest

	Extra map[string]json.RawMessage
}

// A Network is what somebody says about a network of the instance, kept verbatim.
type Network map[string]json.RawMessage

// Templates returns the jobs of the instance, also of a spec of old, which has no list of them.
func (s Spec) Templates() []Template {
	if s.Job.Templates != nil || s.Job.Template == "" {
		return s.Job.Templates
	}
	return []Template{{Name: s.Job.Template, Version: s.Job.Version, SHA1: s.Job.SHA1, BlobID: s.Job.BlobID}}
}

// IsZero tells whether the spec says nothing at all.
func (j Job) IsZero() bool {
	return j.Name == "" && j.Release == "" && j.Template == "" && j.Version == "" && j.SHA1 == "" && j.BlobID == "" &&
		len(j.Templates) == 0 && len(j.Extra) == 0
}

// MaxLogFileSize is properties.logging.max_log_file_size, for logrotate; empty where it is not given as text.
func (s Spec) MaxLogFileSize() string {
	var properties struct {
		Logging struct {
			Size any `json:"max_log_file_size"`
		} `json:"logging"`
	}
	if json.Unmarshal(s.Properties, &properties) != nil {
		return "" // properties are the business of jobs: what has another shape is no size
	}
	size, _ := properties.Logging.Size.(string)
	return size
}
