package oci

import (
	"archive/tar"
	"path"
	"slices"
	"strings"

	"github.com/deakit/deakit/droplet"
)

// A selector takes the members of the home directory out of a layer.
type selector struct {
	app     bool  // whether there was one of the app
	refused error // for which the image is refused
}

// take is for tarball.CheckOptions.Select. Names with ".." are left for the check to refuse, wherever they lead; removals
// are none of the droplet's members.
func (s *selector) take(hdr *tar.Header) bool {
	if slices.Contains(strings.Split(hdr.Name, "/"), "..") {
		return true
	}
	name := path.Clean(hdr.Name)
	if name == "home" || name == homeName {
		if hdr.Typeflag != tar.TypeDir {
			s.refuse(hdr, "the way to the droplet is no directory")
			return false
		}
	}
	rest, inside := inHome(name)
	if !inside || strings.HasPrefix(path.Base(name), whiteout) {
		return false
	}
	if hdr.Typeflag == tar.TypeLink {
		target, inside := inHome(path.Clean(hdr.Linkname))
		if !inside {
			s.refuse(hdr, "hard link to a file outside of "+Home)
			return false
		}
		hdr.Linkname = target
	}
	s.app = s.app || rest == "app" && hdr.Typeflag == tar.TypeDir || strings.HasPrefix(rest, "app/")
	hdr.Name = rest
	return true
}

func (s *selector) refuse(hdr *tar.Header, why string) {
	if s.refused == nil {
		s.refused = &droplet.MemberError{Name: hdr.Name, Reason: droplet.ErrLink, Detail: why}
	}
}

// inHome returns a clean name relative to the home directory, and whether it stands there.
func inHome(name string) (string, bool) {
	if name == homeName {
		return ".", true
	}
	return strings.CutPrefix(name, homeName+"/")
}
