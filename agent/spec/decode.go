package spec

import (
	"encoding/json"
	"fmt"
)

// What stood for nothing in the state of a machine that was never applied anything (stemcells with the Ruby agent).
const (
	emptyText   = `""`
	emptyObject = `{}`
)

// UnmarshalJSON reads a spec of either era. What is wrong with it is an [ErrInvalid] that names the member, not its value.
func (s *Spec) UnmarshalJSON(data []byte) error {
	o := open("", data)
	read := Spec{
		Properties:     o.take("properties"),
		ResourcePool:   o.take("resource_pool"),
		Deployment:     o.text("deployment"),
		Name:           o.text("name"),
		ID:             o.text("id"),
		AZ:             o.text("az"),
		Index:          o.number("index", emptyText),
		PersistentDisk: value(o.number("persistent_disk", emptyObject, emptyText)),
	}
	read.ConfigurationHash = o.text("configuration_hash", emptyObject)
	read.Job = readJob(o)
	read.Packages = readAll(o, "packages", readPackage)
	read.Networks = readAll(o, "networks", func(n *object) Network { return n.members })
	if raw := o.take("rendered_templates_archive"); raw != nil {
		read.RenderedTemplates = readArchive(o, raw)
	}
	if o.err != nil {
		return o.err
	}
	// What is known is written as it was understood, so only what is not known is kept beside it.
	for _, m := range read.members() {
		delete(o.members, m.name)
	}
	read.Extra = o.rest()
	*s = read
	return nil
}

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func readJob(of *object) (j Job) {
	raw := of.take("job", emptyText)
	if raw == nil {
		return j
	}
	o := open(of.at("job"), raw)
	j = Job{
		Name:     o.text("name"),
		Release:  o.text("release"),
		Template: o.text("template"),
		Version:  o.text("version"),
		SHA1:     o.text("sha1"),
		BlobID:   o.text("blobstore_id"),
	}
	var templates []json.RawMessage
	o.decode("templates", "array", &templates)
	if templates != nil {
		j.Templates = make([]Template, len(templates))
	}
	for i, raw := range templates {
		t := open(fmt.Sprintf("%s[%d]", o.at("templates"), i), raw)
		j.Templates[i] = Template{
			Name:    t.text("name"),
			Version: t.text("version"),
			SHA1:    t.text("sha1"),
			BlobID:  t.text("blobstore_id"),
		}
		j.Templates[i].Extra = t.rest()
		of.adopt(t.err)
	}
	j.Extra = o.rest()
	of.adopt(o.err)
	return j
}

func readPackage(o *object) Package {
	p := Package{
		Name:      o.text("name"),
		Version:   o.text("version"),
		SHA1:      o.text("sha1"),
		BlobID:    o.text("blobstore_id"),
		SignedURL: o.text("signed_url"),
	}
	o.decode("blobstore_headers", "object of strings", &p.Headers)
	p.Extra = o.rest()
	return p
}

func readArchive(of *object, raw json.RawMessage) *Archive {
	o := open(of.at("rendered_templates_archive"), raw)
	a := &Archive{BlobID: o.text("blobstore_id"), SHA1: o.text("sha1")}
	a.Extra = o.rest()
	of.adopt(o.err)
	return a
}

// readAll reads an object of objects.
func readAll[T any](of *object, name string, read func(*object) T) map[string]T {
	raw := of.take(name, emptyText)
	if raw == nil {
		return nil
	}
	all := open(of.at(name), raw)
	of.adopt(all.err)
	values := make(map[string]T, len(all.members))
	for key, raw := range all.members {
		o := open(all.at(key), raw)
		values[key] = read(o)
		of.adopt(o.err)
	}
	return values
}
