package lifecycle

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/staging/buildpack"
)

// isURL tells whether a buildpack is named by URL; else it is a key.
func isURL(name string) bool {
	u, err := url.Parse(name)
	return err == nil && u.IsAbs()
}

// dir is the directory of a buildpack by the hash of its name.
func (b *builder) dir(name string) string { return filepath.Join(b.parent(name), buildpack.Hash(name)) }

func (b *builder) parent(name string) string {
	if isURL(name) {
		return b.BuildpacksDownloadDir
	}
	return b.BuildpacksDir
}

// locate finds the files of a buildpack: in the directory with its hash, in that with the MD5 digest which had the same job
// until 2023, or in the only directory within one of the two (buildpackapplifecycle).
func (b *builder) locate(name string) (string, error) {
	sum := md5.Sum([]byte(name))
	dirs := []string{b.dir(name), filepath.Join(b.parent(name), hex.EncodeToString(sum[:]))}
	for _, dir := range dirs {
		if hasBin(dir) {
			return dir, nil
		}
	}
	for _, dir := range dirs {
		found, err := os.ReadDir(dir)
		if err != nil || len(found) == 0 {
			continue
		}
		if nested := filepath.Join(dir, found[0].Name()); len(found) == 1 && hasBin(nested) {
			return nested, nil
		}
		break
	}
	if isURL(name) {
		return "", fmt.Errorf("malformed buildpack does not contain a /bin dir: %s", shown(name))
	}
	return "", fmt.Errorf("malformed buildpack does not contain a /bin dir: %s (expected: %s/bin, or %s there)", name, dirs[0], filepath.Base(dirs[1]))
}

// shown is what people may read of a name: a URL without user info and query, where secrets are.
func shown(name string) string {
	u, err := url.Parse(name)
	if err != nil || !u.IsAbs() {
		return name
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func hasBin(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "bin"))
	return err == nil
}
