package heartbeat

import (
	"cmp"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Desired says how many instances of a version of an app are wanted: those with the indexes 0 to Instances-1.
type Desired struct {
	App       string
	Version   string
	Instances int
}

// A Slot is a place for one instance.
type Slot struct {
	App     string
	Version string
	Index   int
}

func (s Slot) compare(t Slot) int {
	return cmp.Or(cmp.Compare(s.App, t.App), cmp.Compare(s.Version, t.Version), cmp.Compare(s.Index, t.Index))
}

// A Finding is a difference between what is wanted and what is there: a [Missing], an [Evacuating] or an [Extra].
type Finding interface {
	order() (slot Slot, kind int, instance string)
}

// Missing says that no instance runs, starts, or has just been asked for in a slot that is wanted.
type Missing struct {
	Slot

	// Since is when the slot was first reported in the present unbroken row of Checks that found it missing.
	Since time.Time

	Backoff
}

// Evacuating says that the only instance of a slot has to leave its DEA and wants a replacement on another one. It
// runs and serves meanwhile.
type Evacuating struct {
	Slot
	Instance string // guid
	DEA      string
	Backoff  // of the slot: a replacement may have crashed
}

// Backoff tells how often a slot crashed and when to try again.
type Backoff struct {
	Crashes   int       // since the slot was last healthy
	NotBefore time.Time // the zero time means at once
}

// Due tells whether a start need not wait any longer.
func (b Backoff) Due(now time.Time) bool { return !now.Before(b.NotBefore) }

// Extra says that an instance should be stopped.
type Extra struct {
	Slot
	Instance string // guid
	DEA      string
	Reason   Reason
}

// Reason tells why an instance is extra.
type Reason string

// The reasons.
const (
	NotWanted    Reason = "not wanted"     // no version of the app is wanted
	IndexTooHigh Reason = "index too high" // fewer instances are wanted
	OldVersion   Reason = "old version"    // a version that is wanted runs at this index
	Duplicate    Reason = "duplicate"      // another instance in the slot is kept
	Replaced     Reason = "replaced"       // it is evacuating, and its replacement runs
)

func (m Missing) order() (Slot, int, string)    { return m.Slot, 0, "" }
func (e Evacuating) order() (Slot, int, string) { return e.Slot, 1, e.Instance }
func (e Extra) order() (Slot, int, string)      { return e.Slot, 2, e.Instance }

func sortFindings(findings []Finding) {
	slices.SortFunc(findings, func(a, b Finding) int {
		slotA, kindA, instanceA := a.order()
		slotB, kindB, instanceB := b.order()
		return cmp.Or(slotA.compare(slotB), cmp.Compare(kindA, kindB), cmp.Compare(instanceA, instanceB))
	})
}

// An Instance is what the Monitor knows of an instance.
type Instance struct {
	Slot
	Instance string // guid
	DEA      string
	State    messaging.State // Starting, Running, Evacuating or Crashed
	Since    time.Time       // of the state, by the clock of the DEA; when an exit message came, if that told it
	Seen     time.Time       // the last heartbeat that listed it, by the clock of the caller
}
