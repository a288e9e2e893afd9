package transfer

import (
	"encoding/json"
	"strings"
	"unicode"
)

// A job is what an answer says about an upload that goes on (Cloud Controller).
type job struct {
	url    string // to be polled
	status string // "finished", "failed", or anything else for a job that has not ended
}

// parseJob reads the answer to an upload or a poll. Missing keys and values of other types give empty strings; an error
// means that the answer is no JSON object.
func parseJob(data []byte) (job, error) {
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(data, &answer); err != nil {
		return job{}, err
	}
	return job{url: member(answer["metadata"], "url"), status: member(answer["entity"], "status")}, nil
}

// member returns a string in a JSON object. Maps are used throughout since structs match keys in any case.
func member(data json.RawMessage, key string) string {
	var object map[string]json.RawMessage
	var s string
	if json.Unmarshal(data, &object) == nil {
		_ = json.Unmarshal(object[key], &s) // which leaves s empty
	}
	return s
}

// printable returns a bad URL as far as it can be shown: what stands before an "@" may be a password.
func printable(s string) string {
	if strings.ContainsRune(s, '@') {
		return "(with user info)"
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 200)], "")
}
