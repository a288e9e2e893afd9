package directory

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// The paths of signed URLs (dea_ng).
const (
	instancePrefix = "/instance_paths/"
	stagingPrefix  = "/staging_tasks/"
	stagingSuffix  = "/file_path"
)

// A Resolver turns a request into the place of a file. Its methods may be called from several goroutines at once. An
// error that is an *Error or an *Answer is sent to the client as it is, ErrUnreachable and ErrInvalidJSON in the words of
// dea_ng; any other is logged, and answered with status 500 and no details.
type Resolver interface {
	Resolve(ctx context.Context, r *http.Request) (Location, error)
}

// A Lookup knows the instances and staging tasks of this process. Both methods return ErrUnknown or ErrUnavailable where
// that is so, and may be called from several goroutines at once.
type Lookup interface {
	// Instance returns the files of an instance: the home directory of a running one, the saved logs of a crashed one.
	Instance(ctx context.Context, id string) (Tree, error)
	// StagingTask returns the files of a staging task: the root file system of its container.
	StagingTask(ctx context.Context, id string) (Tree, error)
}

// Local resolves requests against a Lookup in the same process.
type Local struct {
	verifier Verifier
	lookup   Lookup
}

// NewLocal returns a Resolver for URLs that verifier finds good: a Signer, or a PublicVerifier. It panics when one of
// the two is missing.
func NewLocal(verifier Verifier, lookup Lookup) *Local {
	if verifier == nil || lookup == nil {
		panic("directory: NewLocal needs a Verifier and a Lookup")
	}
	return &Local{verifier: verifier, lookup: lookup}
}

// Resolve checks signature, age, id and availability in this order (dea_ng). What is missing at the location is
// ErrNotFound.
func (l *Local) Resolve(ctx context.Context, r *http.Request) (Location, error) {
	target, ok := l.route(r.URL.EscapedPath())
	if !ok {
		return Location{}, errNoRoute
	}
	path, err := l.verifier.Verify(r.URL.EscapedPath(), r.URL.RawQuery)
	if err != nil {
		return Location{}, err
	}
	tree, err := target.find(ctx, target.id)
	switch {
	case errors.Is(err, ErrUnknown):
		return Location{}, target.unknown
	case errors.Is(err, ErrUnavailable):
		return Location{}, target.unavailable
	case err != nil:
		return Location{}, err
	}
	return Location{Tree: tree, Path: path, Missing: ErrNotFound}, nil
}

// A target is what a URL path names.
type target struct {
	id                   string
	find                 func(context.Context, string) (Tree, error)
	unknown, unavailable error
}

func (l *Local) route(urlPath string) (t target, ok bool) {
	if id, found := strings.CutPrefix(urlPath, instancePrefix); found {
		t = target{id, l.lookup.Instance, ErrUnknownInstance, ErrInstanceUnavailable}
	} else if id, found = strings.CutPrefix(urlPath, stagingPrefix); found {
		if id, found = strings.CutSuffix(id, stagingSuffix); !found {
			return t, false
		}
		t = target{id, l.lookup.StagingTask, ErrUnknownStagingTask, ErrStagingTaskUnavailable}
	}
	if t.id == "" || strings.Contains(t.id, "/") {
		return t, false
	}
	id, err := url.PathUnescape(t.id)
	t.id = id
	return t, err == nil
}
