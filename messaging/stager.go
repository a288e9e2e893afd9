package messaging

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// The stager of the time before there were buildpacks (vcap_stager, 2011 to 2013) takes requests from queues that its
// configuration names, "staging" as a rule. Each name is subject and queue group at once, see [AnswerEach].

// StagerQueue returns the subject of a queue: a request has one answer, which comes when the droplet is uploaded (since
// 2012-05-02).
func StagerQueue(name string) Query[QueuedStaging, QueuedStagingAnswer] {
	return Query[QueuedStaging, QueuedStagingAnswer](name)
}

// OldStagerQueue returns the subject of a queue before 2012-05-02. The answer is published on QueuedStaging.NotifySubject.
func OldStagerQueue(name string) Subject[QueuedStaging] {
	return Subject[QueuedStaging]("vcap.stager." + name)
}

// A QueuedStaging asks the stager of the time before buildpacks for an app to be staged. Keys that are not listed here are
// ignored. A message that holds nothing but an envelope {"min_version":…,"V1":{…}} (schemata, end of 2012) is read as what
// is in the envelope, of several the newest.
type QueuedStaging struct {
	AppID       Text   `json:"app_id,omitempty"`                 // any text or number; the stager only logs it
	DownloadURI string `json:"download_uri" validate:"required"` // where to get the zip file of the app; may carry user info
	UploadURI   string `json:"upload_uri" validate:"required"`   // where to post the droplet; may carry user info
	Notify      string `json:"notify_subj,omitempty"`            // until 2012-05-02: the subject for the answer

	// What the Cloud Controller knows of the app: framework_info, runtime_info, services, resources, environment and meta, or
	// before 2012-09-11 framework and runtime as names. Package staging/framework reads it.
	Properties json.RawMessage `json:"properties" validate:"required"`
}

// UnmarshalJSON implements json.Unmarshaler. Where a value has the wrong type, it reads the others: who asks has to be told.
func (q *QueuedStaging) UnmarshalJSON(data []byte) error {
	type plain QueuedStaging
	var read plain
	err := json.Unmarshal(data, &read)
	if inner := enveloped(data); err == nil && read.DownloadURI == "" && inner != nil {
		err = json.Unmarshal(inner, &read)
	}
	*q = QueuedStaging(read)
	return err
}

// enveloped returns the content of the highest version in an envelope; nil where there is none.
func enveloped(data []byte) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members["min_version"] == nil {
		return nil
	}
	var newest json.RawMessage
	highest := 0
	for key, value := range members {
		digits, isVersion := strings.CutPrefix(key, "V")
		version, err := strconv.Atoi(digits)
		if isVersion && err == nil && version > highest && bytes.HasPrefix(bytes.TrimSpace(value), []byte("{")) {
			highest, newest = version, value
		}
	}
	return newest
}

// A QueuedStagingAnswer is the one answer to a QueuedStaging. It is also read where it comes as a JSON string that holds the
// object (dea_ng in 2012).
type QueuedStagingAnswer struct {
	TaskID  Text   `json:"task_id"`         // 32 hex digits, drawn for the task
	TaskLog string `json:"task_log"`        // the whole log, lines with their ends
	Error   string `json:"error,omitempty"` // on failure only; see Failure
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *QueuedStagingAnswer) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var inner string
		if err := json.Unmarshal(data, &inner); err != nil {
			return err
		}
		data = []byte(inner)
	}
	type plain QueuedStagingAnswer
	var read plain
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*a = QueuedStagingAnswer(read)
	return nil
}

// Failure returns the error for people, whatever the era of the stager that sent it; empty where all is well.
func (a QueuedStagingAnswer) Failure() string {
	if e, ok := ParseStagerError(a.Error); ok {
		return e.Error()
	}
	return a.Error
}
