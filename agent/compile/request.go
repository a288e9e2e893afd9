package compile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/agent/spec"
)

// Dependencies are compiled packages by name. In JSON, [] and null are none.
type Dependencies map[string]Dependency

// A Dependency is a compiled package and where to get it.
type Dependency struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	SHA1      string            `json:"sha1"` // multi-digest
	BlobID    string            `json:"blobstore_id"`
	SignedURL string            `json:"package_get_signed_url,omitempty"` // wins over BlobID
	Headers   map[string]string `json:"blobstore_headers,omitempty"`
}

// UnmarshalJSON reads an object.
func (d *Dependencies) UnmarshalJSON(data []byte) error {
	if string(bytes.Join(bytes.Fields(data), nil)) == "[]" {
		*d = nil
		return nil
	}
	return json.Unmarshal(data, (*map[string]Dependency)(d))
}

// A Version is that of a package. In JSON it may be a number, which is taken for its digits.
type Version string

// UnmarshalJSON reads a string or a number.
func (v *Version) UnmarshalJSON(data []byte) error {
	var number json.Number
	if data[0] != '"' && json.Unmarshal(data, &number) == nil {
		*v = Version(number)
		return nil
	}
	return json.Unmarshal(data, (*string)(v))
}

// A SignedRequest is the argument of compile_package_with_signed_url.
type SignedRequest struct {
	GetURL  string            `json:"package_get_signed_url"`
	PutURL  string            `json:"upload_signed_url"`
	Digest  string            `json:"digest"` // multi-digest of the source
	Name    string            `json:"name"`
	Version Version           `json:"version"`
	Deps    Dependencies      `json:"deps"`
	Headers map[string]string `json:"blobstore_headers"` // of both URLs
}

// A Result is the value of both methods.
type Result struct {
	Compiled Compiled `json:"result"`
}

// Compiled says where the archive is and what it is.
type Compiled struct {
	BlobID string `json:"blobstore_id,omitempty"` // not with signed URLs
	SHA1   string `json:"sha1"`                   // multi-digest
}

// A job is one compilation whose names have been checked.
type job struct {
	name, version string
	source        spec.Source
	deps          []spec.Package
}

func newJob(name string, version Version, source spec.Source, sha1 string, deps Dependencies) (job, error) {
	j := job{name: name, version: string(version), source: source}
	if err := spec.CheckName("package", name); err != nil {
		return j, err
	}
	if err := spec.CheckVersion("package '"+name+"'", j.version); err != nil {
		return j, err
	}
	if source.BlobID == "" && source.URL == "" {
		return j, fmt.Errorf("No blobstore reference for package '%s'", name)
	}
	var err error
	if j.source.Digest, err = digest.Parse(sha1); err != nil {
		return j, fmt.Errorf("sha1 of the source: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(deps)) {
		d := deps[key]
		if d.Name == "" {
			d.Name = key
		}
		p := spec.Package{Name: d.Name, Version: d.Version, SHA1: d.SHA1, BlobID: d.BlobID, SignedURL: d.SignedURL, Headers: d.Headers}
		if err := p.Validate(); err != nil {
			return j, err
		}
		if d.Name == name || d.Name != key {
			return j, fmt.Errorf("dependency %.80q is package '%s'", key, d.Name)
		}
		j.deps = append(j.deps, p)
	}
	return j, nil
}
