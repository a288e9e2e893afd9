package spec

import "encoding/json"

// MarshalJSON writes a spec as get_state and spec.json of the Go agent have it, and after that what else came.
func (s Spec) MarshalJSON() ([]byte, error) { return write(s.members(), s.Extra) }

func (s Spec) members() []member {
	always := []member{
		{name: "properties", value: orElse(s.Properties, `{"logging":{"max_log_file_size":""}}`)},
		{name: "job", value: s.Job},
		{name: "packages", value: notNil(s.Packages)},
		{name: "configuration_hash", value: s.ConfigurationHash},
		{name: "networks", value: notNil(s.Networks)},
		{name: "resource_pool", value: orElse(s.ResourcePool, emptyObject)},
		{name: "deployment", value: s.Deployment},
		{name: "name", value: s.Name},
		{name: "index", value: s.Index},
		{name: "id", value: s.ID},
		{name: "az", value: s.AZ},
		{name: "persistent_disk", value: s.PersistentDisk},
		{name: "rendered_templates_archive", value: s.RenderedTemplates},
	}
	for i := range always {
		always[i].given = true
	}
	return always
}

func orElse(raw json.RawMessage, other string) json.RawMessage {
	if raw == nil {
		return json.RawMessage(other)
	}
	return raw
}

func notNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// MarshalJSON writes the members that came; of a job that nobody gave, those of the Go agent.
func (j Job) MarshalJSON() ([]byte, error) {
	if j.IsZero() {
		return []byte(`{"name":null,"release":"","template":"","version":"","templates":null}`), nil
	}
	return write([]member{
		text("name", j.Name),
		text("release", j.Release),
		text("template", j.Template),
		text("version", j.Version),
		{name: "templates", value: j.Templates, given: j.Templates != nil},
		text("sha1", j.SHA1),
		text("blobstore_id", j.BlobID),
	}, j.Extra)
}

func text(name, value string) member { return member{name, value, value != ""} }

// MarshalJSON writes the members that came.
func (t Template) MarshalJSON() ([]byte, error) {
	return write([]member{
		text("name", t.Name),
		text("version", t.Version),
		text("sha1", t.SHA1),
		text("blobstore_id", t.BlobID),
	}, t.Extra)
}

// MarshalJSON writes the members that came.
func (p Package) MarshalJSON() ([]byte, error) {
	return write([]member{
		text("name", p.Name),
		text("version", p.Version),
		text("sha1", p.SHA1),
		text("blobstore_id", p.BlobID),
		text("signed_url", p.SignedURL),
		{name: "blobstore_headers", value: p.Headers, given: p.Headers != nil},
	}, p.Extra)
}

// MarshalJSON writes the members that came.
func (a Archive) MarshalJSON() ([]byte, error) {
	return write([]member{text("blobstore_id", a.BlobID), text("sha1", a.SHA1)}, a.Extra)
}
