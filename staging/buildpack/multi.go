package buildpack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/deakit/deakit/container"
)

// Errors of a [Multi].
var (
	// ErrNoMembers: a Multi has at least one member.
	ErrNoMembers = errors.New("no buildpack is named")
	// ErrNoSupply: a member that others follow has no bin/supply. Its text is that of buildpackapplifecycle.
	ErrNoSupply = errors.New("Error: one of the buildpacks chosen to supply dependencies does not support multi-buildpack apps")
	// ErrMixed: a member is of a kind that does not work with others in this way.
	ErrMixed = errors.New("buildpacks of this kind cannot be mixed with those that supply and finalize")
)

// missingFinalize is what buildpackapplifecycle says.
const missingFinalize = "Warning: the last buildpack is not compatible with multi-buildpack apps and cannot make use of " +
	"any dependencies supplied by the buildpacks specified before it"

// Multi is what one or several buildpacks with the programs bin/supply and bin/finalize make together
// (buildpackapplifecycle): all supply dependencies in their order, each below its own index in the directory deps of the
// droplet, then the last one finalizes the app. A last one without bin/finalize compiles the app as a [Classic] does,
// and knows nothing of the others.
//
// The directories deps and profile.d become part of the droplet. The cache has one directory for each member but the
// last, and one called final for that; all else is removed from it.
//
// The container needs sh, mkdir and rm. A member keeps to its directories of deps and cache by convention: what it writes
// elsewhere stays in the container, and where it is below the root, becomes part of the droplet.
//
// A Multi of one member detects as the member does. One of several was named by a person, member by member, and takes
// every app.
//
// Where all members turn out to be cloud native when they are prepared, it is the [CNB] of them as one group.
type Multi struct {
	members []Buildpack
	group   *CNB // of the members; nil as a rule
}

// NewMulti returns the Multi of members in their order. Members are a [Classic], a [Fetched], or another buildpack whose
// programs stand below bin in the directory Path of the host, shown to the container under the same name; another Multi
// stands for its members. Where the files are there already, NewMulti fails with ErrNoSupply for
// members that cannot stand before others; else Compile does. It fails with ErrNoMembers and ErrMixed, too.
func NewMulti(members ...Buildpack) (*Multi, error) {
	m := &Multi{}
	for _, member := range members {
		switch other, isMulti := member.(*Multi); {
		case isMulti:
			m.members = append(m.members, other.members...)
		case member.Root() != StagedRoot:
			return nil, fmt.Errorf("buildpack %s: %w", nameOf(member), ErrMixed)
		default:
			m.members = append(m.members, member)
		}
	}
	if len(m.members) == 0 {
		return nil, ErrNoMembers
	}
	for i, member := range m.members[:len(m.members)-1] {
		if classic, here := member.(*Classic); here && !classic.has("supply") {
			return nil, m.failure(i, ErrNoSupply)
		}
	}
	return m, nil
}

// Compose returns the one Buildpack that works as those that a person named, in their order: a single one as it is,
// several as a [Multi], or as one group of a [CNB] if they are all of that kind.
func Compose(named ...Buildpack) (Buildpack, error) {
	if len(named) == 1 {
		return named[0], nil
	}
	if all := onlyCNB(named); all != nil {
		group, err := composeCNB(all)
		if err != nil {
			return nil, err
		}
		return group, nil
	}
	m, err := NewMulti(named...)
	if err != nil {
		return nil, err // no *Multi that is nil
	}
	return m, nil
}

// A MemberError tells which member of a [Multi] failed.
type MemberError struct {
	Buildpack string // key or path
	Index     int    // from 0
	Members   int    // how many there are
	Err       error
}

func (e *MemberError) Error() string {
	if e.Members == 1 {
		return e.Err.Error()
	}
	return fmt.Sprintf("buildpack %s (%d of %d): %v", e.Buildpack, e.Index+1, e.Members, e.Err)
}

// Unwrap returns Err.
func (e *MemberError) Unwrap() error { return e.Err }

// Final tells whether it was the last member.
func (e *MemberError) Final() bool { return e.Index == e.Members-1 }

// failure makes a MemberError of what happened to a member; nil stays nil.
func (m *Multi) failure(i int, err error) error {
	if err == nil {
		return nil
	}
	return &MemberError{Buildpack: nameOf(m.members[i]), Index: i, Members: len(m.members), Err: err}
}

func nameOf(bp Buildpack) string {
	if key := bp.Key(); key != "" {
		return key
	}
	return bp.Path()
}

func (m *Multi) last() Buildpack { return m.members[len(m.members)-1] }

// Key is that of the last member, as is Path (buildpackapplifecycle).
func (m *Multi) Key() string { return m.last().Key() }

// Path implements [Buildpack].
func (m *Multi) Path() string { return m.last().Path() }

// Members returns the buildpacks, in their order.
func (m *Multi) Members() []Buildpack { return slices.Clone(m.members) }

// Mounts implements [Buildpack].
func (m *Multi) Mounts() []container.BindMount {
	var mounts []container.BindMount
	for _, member := range m.members {
		mounts = append(mounts, member.Mounts()...)
	}
	return mounts
}

// Root implements [Buildpack].
func (m *Multi) Root() string {
	if m.group != nil {
		return m.group.Root()
	}
	return StagedRoot
}

// Prepare prepares every member. It fails with a [*MemberError].
func (m *Multi) Prepare(ctx context.Context, b Build) error {
	for i, member := range m.members {
		if err := member.Prepare(ctx, b); err != nil {
			return m.failure(i, err)
		}
	}
	if all := onlyCNB(m.members); all != nil {
		group, err := composeCNB(all)
		m.group = group
		return err
	}
	for i, member := range m.members {
		if member.Root() != StagedRoot { // which some know only now
			return m.failure(i, ErrMixed)
		}
	}
	return nil
}

// Detect runs bin/detect of a single member. Several take every app, without a name.
func (m *Multi) Detect(ctx context.Context, b Build) (string, bool, error) {
	if m.group != nil {
		return m.group.Detect(ctx, b)
	}
	if len(m.members) > 1 {
		return "", true, nil
	}
	return m.programs(0).Detect(ctx, b)
}

// programs returns a member as a directory with programs.
func (m *Multi) programs(i int) *Classic {
	return &Classic{key: m.members[i].Key(), dir: directory(m.members[i])}
}

// directory is where the files of a buildpack stand, which is told elsewhere if they were fetched.
func directory(bp Buildpack) string {
	switch bp := bp.(type) {
	case *Fetched:
		if bp.found != nil {
			return directory(bp.found)
		}
	case *Multi: // of one, found among what was fetched
		return directory(bp.last())
	}
	return bp.Path()
}
