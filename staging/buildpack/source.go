package buildpack

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A SourceKind is a way in which a buildpack is to be had.
type SourceKind string

// The kinds of source.
const (
	Directory     SourceKind = "directory"   // of this machine, used where it stands
	ArchiveFile   SourceKind = "archive"     // a zip or tar file of this machine
	ArchiveURL    SourceKind = "archive URL" // a zip or tar file on a server
	GitRepository SourceKind = "git"
)

// A Source is where a buildpack comes from, as people write it.
type Source struct {
	Kind SourceKind
	// Location is an absolute path, or a URL without what Ref and Digest hold. It may have user info: String is what may be
	// shown.
	Location string
	Ref      string // GitRepository: branch, tag or commit; empty for the default branch
	Digest   string // archives: "sha256:" or "sha1:" and hexadecimal digits; empty takes any content
}

// ErrSource means that a text names no buildpack.
var ErrSource = errors.New("no buildpack")

// ParseSource reads what a person types to name a buildpack:
//
//	./my-buildpack                                  a directory
//	./my-buildpack.zip, ./my-buildpack.tgz          a zip or tar file
//	https://host/bp.zip, https://host/bp.tar.gz     the same on a server
//	https://host/bp.zip#sha256=9f86d0…              the same, refused if it is another one; also with sha1
//	https://host/org/bp.git, https://host/org/bp    a git repository
//	https://host/org/bp#v1.2                        of a branch, a tag or a commit
//
// It looks at files of this machine, and at nothing else. It fails with ErrSource, or with the error of the file system.
func ParseSource(text string) (Source, error) {
	if strings.Contains(text, "://") {
		return ParseURL(text)
	}
	name, digest, err := cutDigest(text)
	if err != nil {
		return Source{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return Source{}, fmt.Errorf("buildpack %s: %w; give a directory, a zip or tar file, or the URL of an archive or of a git repository", name, err)
	}
	source := Source{Kind: ArchiveFile, Digest: digest}
	if source.Location, err = filepath.Abs(name); err != nil {
		return Source{}, fmt.Errorf("buildpack: %w", err)
	}
	switch {
	case info.IsDir() && digest != "":
		return Source{}, fmt.Errorf("%w: %s is a directory, which has no digest", ErrSource, name)
	case info.IsDir():
		source.Kind = Directory
	case !info.Mode().IsRegular():
		return Source{}, fmt.Errorf("%w: %s is neither a directory nor a file", ErrSource, name)
	}
	return source, nil
}

// ParseURL is [ParseSource] for what is on a server, and looks at nothing.
func ParseURL(text string) (Source, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" { // err quotes the URL, which may have a password
		return Source{}, fmt.Errorf("%w: the URL cannot be parsed; give https://host/path", ErrSource)
	}
	fragment := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	_, digest, err := cutDigest("#" + fragment)
	switch {
	case err != nil:
		return Source{}, err
	case digest != "", isArchiveName(u.Path) && (u.Scheme == "http" || u.Scheme == "https"):
		if digest == "" && fragment != "" {
			return Source{}, fmt.Errorf("%w: an archive has no branch %.60q; only #sha256=… or #sha1=… may follow its URL", ErrSource, fragment)
		}
		return Source{Kind: ArchiveURL, Location: u.String(), Digest: digest}, nil
	}
	return Source{Kind: GitRepository, Location: u.String(), Ref: fragment}, nil
}

// isArchiveName tells whether a path ends as archives do.
func isArchiveName(p string) bool {
	p = strings.ToLower(path.Base(p))
	for _, end := range []string{".zip", ".tgz", ".tar.gz", ".tar", ".tar.zst"} {
		if strings.HasSuffix(p, end) {
			return true
		}
	}
	return false
}

// Local tells whether the files are on this machine.
func (s Source) Local() bool { return s.Kind == Directory || s.Kind == ArchiveFile }

// String is the source as people write it, without user info and without the values of a query.
func (s Source) String() string {
	text := s.Location
	if !s.Local() {
		text = redact(text)
	}
	switch {
	case s.Ref != "":
		text += "#" + s.Ref
	case s.Digest != "":
		text += "#" + strings.Replace(s.Digest, ":", "=", 1)
	}
	return text
}

func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// FetchOptions say how sources are fetched. The zero value is useful.
type FetchOptions struct {
	Git     GitOptions
	Archive ArchiveOptions

	// Copy has the files of a directory copied when the buildpack is prepared, for containers whose users may have no access
	// to where it stands, as to a home.
	Copy bool
}

// Open returns the buildpack. The files of a directory are used where they stand, unless a copy is wanted; all others come to
// a new directory below dir, which exists, when the buildpack is prepared. Whoever owns dir removes that when the container is
// gone. A directory that holds no buildpack fails with ErrNoPrograms.
func (s Source) Open(dir string, opts FetchOptions) (Buildpack, error) {
	switch s.Kind {
	case Directory:
		bp, err := Open("", s.Location)
		if err != nil || !opts.Copy {
			return bp, err
		}
		return newCopy(s, dir)
	case ArchiveFile, ArchiveURL:
		return newArchive(s, dir, opts.Archive)
	case GitRepository:
		return newGit(s, dir, opts.Git)
	}
	return nil, fmt.Errorf("%w: unknown kind of source %q", ErrSource, s.Kind)
}
