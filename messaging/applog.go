package messaging

import (
	"strings"
	"time"
)

// AppLogPrefix begins the subjects of log lines where no other is configured.
const AppLogPrefix = "deakit.logs"

// AppLog returns the subject on which the lines of an app are published: prefix and guid, with a dot between. What cannot
// be a part of a subject is replaced by "_", so look into the messages where guids may be strange. It is an addition of
// deakit: the originals sent lines to Loggregator by UDP.
func AppLog(prefix, app string) Subject[AppLogLine] {
	return Subject[AppLogLine](prefix + "." + subjectToken(app))
}

// maxToken bounds the part of a subject that an app's guid becomes, in bytes.
const maxToken = 128

func subjectToken(guid string) string {
	guid = guid[:min(len(guid), maxToken)]
	if guid == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r > '~' || !IsToken(string(r)) {
			return '_'
		}
		return r
	}, guid)
}

// An AppLogLine is one line that an app wrote, or that its platform wrote about it.
type AppLogLine struct {
	Time     time.Time `json:"time"`                       // when it was read, RFC 3339, UTC
	App      Text      `json:"app"`                        // app guid
	Instance string    `json:"instance,omitempty"`         // guid; absent when the line belongs to no instance
	Index    *int      `json:"index,omitempty"`            // of the instance; absent likewise
	Source   LogSource `json:"source" validate:"required"` // "APP", "DEA" or "STG", the staging
	Stream   LogStream `json:"stream" validate:"required"` // "stdout" or "stderr"
	Text     string    `json:"text"`                       // without its end; what was no UTF-8 is the replacement character
}

// LogSource tells which part of the platform a line comes from (Loggregator's source_type).
type LogSource string

// LogStream tells which output of a process a line was written to.
type LogStream string
