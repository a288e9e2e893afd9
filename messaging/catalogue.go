package messaging

import (
	"strings"
)

// A Kind describes one subject of the protocol for programs that show or document messages of every type.
type Kind struct {
	Subject string // with "*" where an id stands
	From    string // who publishes
	To      string // who listens
	Purpose string

	Decode       func(data []byte) (any, error)
	DecodeAnswer func(data []byte) (any, error) // nil when there are no answers
}

// Kinds lists every subject that the package knows.
func Kinds() []Kind {
	return []Kind{
		tell(DEAAdvertise, "DEA", "Cloud Controller", "capacity offer"),
		tell(DEALocate, "Cloud Controller", "DEA", "advertise now"),
		tell(DEAStart("*"), "Cloud Controller", "DEA", "start one instance"),
		tell(DEAStop, "Cloud Controller", "DEA, stager", "stop what matches"),
		tell(DEAUpdate, "Cloud Controller", "DEA", "new routes or version of an app"),
		ask(DEAFindDroplet, "Cloud Controller", "DEA", "find instances, their figures and files"),
		tell(DEAShutdown, "DEA", "Cloud Controller", "forget the offer"),
		tell(DropletExited, "DEA", "Cloud Controller, health manager", "an instance ended or has to leave"),
		tell(DEAHeartbeat, "DEA", "health manager", "all instances"),
		tell(HealthManagerStart, "health manager", "DEA", "heartbeat now"),
		tell(RouterStart, "router", "DEA", "register everything now"),
		ask(RouterGreet, "DEA", "router", "ask for the interval"),
		tell(RouterRegister, "DEA", "router", "add routes"),
		tell(RouterUnregister, "DEA", "router", "remove routes"),
		tell(StagingAdvertise, "stager", "Cloud Controller", "capacity offer"),
		tell(StagingLocate, "Cloud Controller", "stager", "advertise now"),
		ask(StagingStart("*"), "Cloud Controller", "stager", "stage an app"),
		tell(StagingStop, "Cloud Controller", "stager", "give up staging of an app"),
	}
}

// KindOf finds the kind of a subject.
func KindOf(subject string) (Kind, bool) {
	for _, kind := range Kinds() {
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

func tell[T any](s Subject[T], from, to, purpose string) Kind {
	return Kind{Subject: string(s), From: from, To: to, Purpose: purpose, Decode: boxed(s.Decode)}
}

func ask[Q, A any](q Query[Q, A], from, to, purpose string) Kind {
	kind := tell(q.Subject(), from, to, purpose)
	kind.DecodeAnswer = boxed(q.DecodeAnswer)
	return kind
}

func boxed[T any](decode func([]byte) (T, error)) func([]byte) (any, error) {
	return func(data []byte) (any, error) { return decode(data) }
}
