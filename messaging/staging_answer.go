package messaging

import "encoding/json"

// A StagingAnswer is what a requester reads from either answer, of any era. Stagers send [StagingSetup], [StagingResult]
// and [StagingRefusal].
type StagingAnswer struct {
	TaskID               Text            `json:"task_id"`                // from the request
	StreamingLogURL      string          `json:"task_streaming_log_url"` // where to follow the log, in the first answer
	DetectedBuildpack    string          `json:"detected_buildpack"`     // what bin/detect said
	BuildpackKey         string          `json:"buildpack_key"`          // key of the admin buildpack that was used
	DropletSHA1          string          `json:"droplet_sha1"`           // not empty: instance 0 was started; read error first
	DetectedStartCommand string          `json:"detected_start_command"` // of the process type web
	Procfile             map[string]Text `json:"procfile"`               // process type to command
	AppID                Text            `json:"app_id"`                 // app guid
	Error                string          `json:"error"`                  // empty when all is well
	ErrorInfo            *StagingError   `json:"error_info"`             // the kind of the error, if it has one
	TaskLog              string          `json:"task_log,omitempty"`     // the whole log (until 2013-09)
	DEAID                string          `json:"dea_id,omitempty"`       // who staged; over HTTP only
}

// UnmarshalJSON implements json.Unmarshaler. An answer that is a bare string is an error, as it is to the Cloud
// Controller.
func (a *StagingAnswer) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*a = StagingAnswer{}
		return json.Unmarshal(data, &a.Error)
	}
	type plain StagingAnswer
	return json.Unmarshal(data, (*plain)(a))
}

// StagingSetup is the first answer: the task is set up, or could not be. Nothing else may be sent before the result: the
// Cloud Controller tells the answers apart by their order.
type StagingSetup struct {
	TaskID          string  `json:"task_id" validate:"required"` // from the request
	StreamingLogURL string  `json:"task_streaming_log_url"`      // where to follow the log from now on
	Error           *string `json:"error"`                       // null when all is well
}

// StagingResult is the second answer.
type StagingResult struct {
	TaskID               string            `json:"task_id" validate:"required"` // from the request
	DetectedBuildpack    *string           `json:"detected_buildpack"`          // what bin/detect said; null when detection was not run
	BuildpackKey         *string           `json:"buildpack_key"`               // key of the admin buildpack that was used
	DropletSHA1          *string           `json:"droplet_sha1"`                // 40 hex digits; null: not packed, or instance 0 was not started
	DetectedStartCommand *string           `json:"detected_start_command"`      // of the process type web
	Procfile             map[string]string `json:"procfile"`                    // process type to command
	AppID                string            `json:"app_id"`                      // app guid
	Error                string            `json:"error,omitempty"`             // on failure only
	ErrorInfo            *StagingError     `json:"error_info,omitempty"`        // the kind of the error, if it has one
	DEAID                string            `json:"dea_id,omitempty"`            // who staged; over HTTP only
}

// StagingRefusal is the only answer when a task was not begun or was stopped.
type StagingRefusal struct {
	TaskID string `json:"task_id" validate:"required"` // from the request
	AppID  string `json:"app_id,omitempty"`            // app guid; HTTP needs it
	Error  string `json:"error" validate:"required"`   // "Not enough memory resources available"
}

// The types that the Cloud Controller knows; it breaks on others.
const (
	NoAppDetected = "NoAppDetectedError"
	CompileFailed = "BuildpackCompileFailed"
	ReleaseFailed = "BuildpackReleaseFailed"
)

// A StagingError names the kind of a failed staging. Both fields are always set: with one of them the Cloud Controller
// sees no error at all.
type StagingError struct {
	Type    string `json:"type" validate:"required"`    // NoAppDetectedError, BuildpackCompileFailed or BuildpackReleaseFailed
	Message string `json:"message" validate:"required"` // for people
}
