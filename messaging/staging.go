package messaging

import "encoding/json"

// Subjects between a stager and the Cloud Controller (dea_ng).
const (
	StagingAdvertise Subject[StagerAdvertisement] = "staging.advertise" // stager: capacity offer, every 5 s and when asked
	StagingLocate    Subject[Signal]              = "staging.locate"    // Cloud Controller: advertise now
	StagingStop      Subject[StagingStopMessage]  = "staging.stop"      // Cloud Controller: give up what runs for an app
)

// StagingStart returns the subject on which the stager of this id is asked to stage. Two answers come to the reply
// subject: that the set-up is done, and the result. A refusal is the only answer.
func StagingStart(id string) Query[StagingRequest, StagingAnswer] {
	return Query[StagingRequest, StagingAnswer]("staging." + id + ".start")
}

// A StagerAdvertisement offers the capacity of a stager. The Cloud Controller drops it after 10 s.
type StagerAdvertisement struct {
	ID              string   `json:"id" validate:"token"`
	Stacks          []string `json:"stacks" validate:"required"`
	AvailableMemory Int      `json:"available_memory"`         // MB
	AvailableDisk   *Int     `json:"available_disk,omitempty"` // MB; nil (before 2014-04) means enough
}

// A StagingRequest asks for an app to be staged.
type StagingRequest struct {
	AppID      Text              `json:"app_id,omitempty"`
	TaskID     Text              `json:"task_id,omitempty"` // empty: the stager draws one
	Properties StagingProperties `json:"properties"`

	// Where to get the app's source, and where to put the droplet. They may carry user info.
	DownloadURI string `json:"download_uri"`
	UploadURI   string `json:"upload_uri"`

	// The same for the buildpack cache; empty means that there is none.
	BuildpackCacheDownloadURI string `json:"buildpack_cache_download_uri,omitempty"`
	BuildpackCacheUploadURI   string `json:"buildpack_cache_upload_uri,omitempty"`

	// StartMessage starts instance 0 when the droplet is there. It is checked when it is used: while staging, only
	// its limits count, and it still lacks the droplet's digest.
	StartMessage json.RawMessage `json:"start_message,omitempty"`

	AdminBuildpacks    []AdminBuildpack `json:"admin_buildpacks,omitempty"` // in the order in which to try them
	EgressNetworkRules []EgressRule     `json:"egress_network_rules,omitempty"`
	Stack              string           `json:"stack,omitempty"`
	MemoryLimit        Int              `json:"memory_limit,omitempty"` // MB; 0: that of the start message
	DiskLimit          Int              `json:"disk_limit,omitempty"`   // MB
	AcceptsHTTP        bool             `json:"accepts_http,omitempty"`
}

// StartLimits returns the limits of the start message, zero where it has none.
func (r StagingRequest) StartLimits() Limits {
	var start struct {
		Limits struct{ Mem, Disk, FDs Int } `json:"limits"`
	}
	if json.Unmarshal(r.StartMessage, &start) != nil {
		return Limits{}
	}
	return Limits{int64(start.Limits.Mem), int64(start.Limits.Disk), int64(start.Limits.FDs)}
}

// HasStart tells whether there is a start message with content.
func (r StagingRequest) HasStart() bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(r.StartMessage, &fields) == nil && len(fields) > 0
}

// StagingProperties tell how to stage.
type StagingProperties struct {
	Services    Services    `json:"services"`
	Environment []string    `json:"environment"` // NAME=value
	Meta        StagingMeta `json:"meta"`

	// One of: a git URL (two names for it, the first wins), the key of an admin buildpack, or neither, which means
	// to try the admin buildpacks in order.
	Buildpack       string `json:"buildpack,omitempty"`
	BuildpackGitURL string `json:"buildpack_git_url,omitempty"`
	BuildpackKey    string `json:"buildpack_key,omitempty"`
}

// StagingMeta carries the start command that the user gave with the app.
type StagingMeta struct {
	Command string `json:"command,omitempty"`
}

// An AdminBuildpack is a zip file at a URL; new content has a new key.
type AdminBuildpack struct {
	Key string `json:"key"`
	URL string `json:"url"` // may carry user info
}

// A StagingStopMessage gives up all staging of an app.
type StagingStopMessage struct {
	AppID Text `json:"app_id" validate:"required"`
}

// A StagingAnswer is what a requester reads from either answer. Stagers send [StagingSetup] and [StagingResult].
type StagingAnswer struct {
	TaskID               Text            `json:"task_id"`
	StreamingLogURL      string          `json:"task_streaming_log_url"`
	DetectedBuildpack    string          `json:"detected_buildpack"`
	BuildpackKey         string          `json:"buildpack_key"`
	DropletSHA1          string          `json:"droplet_sha1"`
	DetectedStartCommand string          `json:"detected_start_command"`
	Procfile             map[string]Text `json:"procfile"`
	AppID                Text            `json:"app_id"`
	Error                string          `json:"error"` // empty when all is well
	ErrorInfo            *StagingError   `json:"error_info"`
}

// StagingSetup is the first answer: the task is set up, or could not be.
type StagingSetup struct {
	TaskID          string  `json:"task_id" validate:"required"`
	StreamingLogURL string  `json:"task_streaming_log_url"`
	Error           *string `json:"error"` // null when all is well
}

// StagingResult is the second answer.
type StagingResult struct {
	TaskID               string            `json:"task_id" validate:"required"`
	DetectedBuildpack    *string           `json:"detected_buildpack"` // null when detection was not run
	BuildpackKey         *string           `json:"buildpack_key"`
	DropletSHA1          *string           `json:"droplet_sha1"` // null: not packed, or instance 0 was not started
	DetectedStartCommand *string           `json:"detected_start_command"`
	Procfile             map[string]string `json:"procfile"`
	AppID                string            `json:"app_id"`
	Error                string            `json:"error,omitempty"`
	ErrorInfo            *StagingError     `json:"error_info,omitempty"`
}

// StagingRefusal is the only answer when a task was not begun or was stopped.
type StagingRefusal struct {
	TaskID string `json:"task_id" validate:"required"`
	AppID  string `json:"app_id,omitempty"`
	Error  string `json:"error" validate:"required"`
}

// The types that the Cloud Controller knows; it breaks on others.
const (
	NoAppDetected = "NoAppDetectedError"
	CompileFailed = "BuildpackCompileFailed"
	ReleaseFailed = "BuildpackReleaseFailed"
)

// A StagingError names the kind of a failed staging. Both fields are always set.
type StagingError struct {
	Type    string `json:"type" validate:"required"`
	Message string `json:"message" validate:"required"`
}
