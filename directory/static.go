package directory

import (
	"context"
	"net/http"
)

// Static returns a Resolver that serves one directory, at every URL that verifier finds good: those of [Signer.SignedPath] with any
// URL path. It panics without a verifier. To serve several directories, write a Resolver that looks at the URL path, or use Local.
func Static(verifier Verifier, tree Tree) Resolver {
	if verifier == nil {
		panic("directory: Static needs a Verifier")
	}
	return &static{verifier, tree}
}

type static struct {
	verifier Verifier
	tree     Tree
}

func (s *static) Resolve(_ context.Context, r *http.Request) (Location, error) {
	path, err := s.verifier.Verify(r.URL.EscapedPath(), r.URL.RawQuery)
	if err != nil {
		return Location{}, err
	}
	return Location{Tree: s.tree, Path: path, Missing: ErrNotFound}, nil
}
