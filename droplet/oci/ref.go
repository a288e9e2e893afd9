package oci

import (
	"errors"
	"fmt"
	"regexp"
)

// ErrRef: Options.Ref is no name that an image can have in its target.
var ErrRef = errors.New("no name for an image")

const maxRef = 255

var (
	// layoutRef is the grammar of org.opencontainers.image.ref.name (image-spec, annotations.md).
	layoutRef = regexp.MustCompile(`^[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*(/[A-Za-z0-9]+((--|[-._:@+])[A-Za-z0-9]+)*)*$`)
	// dockerRef is that of "docker load", which wants a tag: [host[:port]/]path:tag (distribution, reference.go).
	dockerRef = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/)?` +
		`[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// checkRef refuses what readers of the target would refuse. Empty is the default.
func checkRef(ref string, grammar *regexp.Regexp, remedy string) error {
	if ref == "" || len(ref) <= maxRef && grammar.MatchString(ref) {
		return nil
	}
	return fmt.Errorf("%w: %.100q; %s", ErrRef, ref, remedy)
}

func (layout) checkRef(ref string) error {
	return checkRef(ref, layoutRef, `write one as "latest" or "my-app:1.2"`)
}

func (docker) checkRef(ref string) error {
	return checkRef(ref, dockerRef, `write one in lower case with a tag, as "my-app:1.2"`)
}
