package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/deakit/deakit/agent/digest"
)

// A Source is where a blob comes from and what it must be.
type Source struct {
	BlobID  string
	Digest  digest.Digest
	URL     string // signed; where there is one, it wins over BlobID
	Headers map[string]string
}

// A NeedsRenderingError is a spec of old, whose job templates are ERB: they would have to be rendered here, with Ruby.
type NeedsRenderingError struct{ Job string }

func (e *NeedsRenderingError) Error() string {
	return fmt.Sprintf("job '%s' comes without a rendered_templates_archive: its ERB templates would have to be rendered here, "+
		"and this agent does not render: let the director render them and send the archive", e.Job)
}

// Validate returns an [ErrInvalid], or a [*NeedsRenderingError], unless the spec can be installed. Whether its blobs are
// there is another matter. A spec that fails can still be kept.
func (s Spec) Validate() error {
	templates := s.Templates()
	seen := map[string]bool{}
	for _, t := range templates {
		if err := CheckName("job", t.Name); err != nil {
			return err
		}
		if err := CheckVersion("job '"+t.Name+"'", t.Version); err != nil {
			return err
		}
		if seen[t.Name] {
			return fmt.Errorf("%w: there are two jobs '%s'", ErrInvalid, t.Name)
		}
		seen[t.Name] = true
	}
	if len(templates) > 0 {
		if s.RenderedTemplates == nil {
			return &NeedsRenderingError{templates[0].Name}
		}
		if _, err := s.RenderedTemplates.Source(); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Packages)) {
		p := s.Packages[name]
		if p.Name != name {
			return fmt.Errorf("%w: package %.80q has the name %.80q", ErrInvalid, name, p.Name)
		}
		if err := p.Validate(); err != nil {
			return err
		}
	}
	return checkLogSize(s.MaxLogFileSize())
}

// Validate returns an [ErrInvalid] unless the package can be installed.
func (p Package) Validate() error {
	if err := CheckName("package", p.Name); err != nil {
		return err
	}
	if err := CheckVersion("package '"+p.Name+"'", p.Version); err != nil {
		return err
	}
	_, err := p.Source()
	return err
}

// Source is where the package comes from. Without a digest there is none: what cannot be checked is not installed.
func (p Package) Source() (Source, error) {
	return source("package '"+p.Name+"'", Source{BlobID: p.BlobID, URL: p.SignedURL, Headers: p.Headers}, p.SHA1)
}

// Source is where the archive comes from.
func (a Archive) Source() (Source, error) {
	return source("rendered_templates_archive", Source{BlobID: a.BlobID}, a.SHA1)
}

func source(of string, s Source, sha1 string) (Source, error) {
	if s.BlobID == "" && s.URL == "" {
		return s, fmt.Errorf("%w: %s has no blobstore_id", ErrInvalid, of)
	}
	d, err := digest.Parse(sha1)
	if err != nil {
		return s, fmt.Errorf("%w: sha1 of %s: %w", ErrInvalid, of, err)
	}
	s.Digest = d
	return s, nil
}

const maxLogSize = 19 // bytes: a number that fits into 64 bits, and a unit

// logSize is what logrotate takes for a size; the text goes into its configuration.
var logSize = regexp.MustCompile(`^[0-9]+[kMG]?$`)

func checkLogSize(size string) error {
	if size != "" && (len(size) > maxLogSize || !logSize.MatchString(size)) {
		return fmt.Errorf("%w: properties.logging.max_log_file_size is no size: give digits and k, M or G", ErrInvalid)
	}
	return nil
}
