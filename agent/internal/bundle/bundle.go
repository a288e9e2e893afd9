package bundle

import (
	"crypto/sha1"
	"encoding/hex"
	"path"

	"github.com/deakit/deakit/agent/digest"
)

// A Kind is what is installed.
type Kind string

// The kinds.
const (
	Jobs     Kind = "jobs"
	Packages Kind = "packages"
)

// dir is where bundles of a kind stand.
func (k Kind) dir() string { return path.Join("data", string(k)) }

// A Bundle is one version of a job or package. Its name has been checked.
type Bundle struct {
	Kind Kind
	Name string
	Dir  string // below data/<kind>/<name>
}

// New returns the bundle with a version and a digest, in a directory of its own for each pair (bosh-agent).
func New(kind Kind, name, version string, d digest.Digest) Bundle {
	return Bundle{kind, name, hash(version + "-" + d.String())}
}

// Compiling returns the bundle that a package is compiled into, when it has no digest yet (bosh-agent).
func Compiling(name, version string) Bundle { return Bundle{Packages, name, hash(version)} }

func hash(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Path is where the bundle stands below the base directory.
func (b Bundle) Path() string { return path.Join(b.Kind.dir(), b.Name, b.Dir) }

// Link is where its link stands below the base directory.
func (b Bundle) Link() string { return path.Join(string(b.Kind), b.Name) }
