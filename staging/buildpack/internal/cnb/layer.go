package cnb

import (
	"errors"
	"slices"
	"strings"
)

// A Layer is what a buildpack says of a directory that it made.
type Layer struct {
	Launch bool // it is a part of the droplet
	Build  bool // it changes the environment of later buildpacks
	Cache  bool // it is kept for the next build

	Metadata any // the buildpack's own
}

// Ignored tells whether the layer is for nobody but its buildpack.
func (l Layer) Ignored() bool { return !l.Launch && !l.Build && !l.Cache }

// ParseLayer reads a <layer>.toml.
func ParseLayer(file string, data []byte) (Layer, error) {
	var t struct {
		Types    struct{ Launch, Build, Cache bool }
		Metadata any
	}
	meta, err := decode(file, data, &t)
	if err != nil {
		return Layer{}, err
	}
	for _, key := range []string{"launch", "build", "cache"} {
		if meta.IsDefined(key) {
			return Layer{}, &FileError{File: file, Key: key, Err: errors.New("belongs into the table types")}
		}
	}
	return Layer{t.Types.Launch, t.Types.Build, t.Types.Cache, t.Metadata}, nil
}

// KeptLayer returns the <layer>.toml for the next build: with the metadata only, since the types are for the buildpack to say
// anew. A layer that kept its types would be used although nobody asked for it.
func KeptLayer(l Layer) ([]byte, error) { return keepMetadata(l.Metadata) }

// KeptStore returns the store.toml for the next build: what data has in its table metadata.
func KeptStore(file string, data []byte) ([]byte, error) {
	var t struct{ Metadata any }
	if _, err := decode(file, data, &t); err != nil {
		return nil, err
	}
	return keepMetadata(t.Metadata)
}

func keepMetadata(metadata any) ([]byte, error) {
	if metadata == nil {
		return nil, nil
	}
	return encode(map[string]any{"metadata": metadata})
}

// LayerOf returns the name of the layer that a file name.toml tells about, if it does.
func LayerOf(file string) (name string, ok bool, err error) {
	name, ok = strings.CutSuffix(file, ".toml")
	if !ok || slices.Contains([]string{"launch", "build", "store"}, name) {
		return "", false, nil
	}
	if name == "" || name == "." || name == ".." {
		return "", false, &FileError{File: file, Err: errors.New("it names no directory that could be a layer")}
	}
	return name, true, nil
}
