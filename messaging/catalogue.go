package messaging

import (
	"slices"
	"strings"
	"sync"
)

// A Direction tells what a platform node (a DEA, a stager, an agent) does with a subject.
type Direction string

// The directions.
const (
	NodeSends    Direction = "sends"
	NodeReceives Direction = "receives"
	NodeAsks     Direction = "asks"    // sends, and hears the answers
	NodeAnswers  Direction = "answers" // receives, and answers to the reply subject
	NodeIgnores  Direction = "ignores" // others talk there
)

// A Kind describes one subject of the protocol, for programs that show, record or document messages of every type.
type Kind struct {
	Subject   string    // with "*" where the id of a component stands
	Area      string    // what it is about: "Running apps"
	Direction Direction // seen from the platform node
	From      string    // who publishes
	To        string    // who listens
	Group     string    // queue group of those who listen; empty: each of them hears every message
	ReplyTo   string    // member of the message that names the subject of answers; empty: the reply subject of NATS
	Era       string    // when peers used it
	Purpose   string    // a few words
	Note      string    // what else to know: sentences, may be empty

	// Example is a message in the form that is recommended for sending. Answers has one for each form of answer; it is
	// nil when there are no answers. Both are shared: do not change what they point to.
	Example any
	Answers []any

	Decode       func(data []byte) (any, error) // into the type of Example
	DecodeAnswer func(data []byte) (any, error) // into one type for all forms of answers; nil when there are none
}

// Kinds lists every subject that the package knows, by area.
func Kinds() []Kind { return slices.Clone(kinds()) }

var kinds = sync.OnceValue(func() []Kind {
	return slices.Concat(
		area("Offers", offerKinds()),
		area("Running apps", appKinds()),
		area("Health", healthKinds()),
		area("Routes", routerKinds()),
		area("Staging", stagingKinds()),
		area("Components", componentKinds()),
		area("Logs", logKinds()),
		area("Agents", agentKinds()),
		area("Health of agents", agentHealthKinds()),
	)
})

func area(name string, kinds []Kind) []Kind {
	for i := range kinds {
		kinds[i].Area = name
	}
	return kinds
}

// KindOf finds the kind of a subject.
func KindOf(subject string) (Kind, bool) {
	for _, kind := range kinds() {
		if matches(kind.Subject, subject) {
			return kind, true
		}
	}
	return Kind{}, false
}

func matches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if want[i] != "*" && want[i] != have[i] {
			return false
		}
	}
	return true
}

// tell completes the kind of a subject without answers.
func tell[T any](s Subject[T], kind Kind, example T) Kind {
	kind.Subject, kind.Example, kind.Decode = string(s), example, boxed(s.Decode)
	return kind
}

// ask completes the kind of a query. The answers are messages of type A, or of those types that are sent for it.
func ask[Q, A any](q Query[Q, A], kind Kind, example Q, answers ...any) Kind {
	kind = tell(q.Subject(), kind, example)
	kind.Answers, kind.DecodeAnswer = answers, boxed(q.DecodeAnswer)
	return kind
}

func boxed[T any](decode func([]byte) (T, error)) func([]byte) (any, error) {
	return func(data []byte) (any, error) { return decode(data) }
}
