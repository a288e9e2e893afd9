package messaging

import "encoding/json"

// Subjects between a stager and the Cloud Controller (dea_ng).
const (
	StagingAdvertise Subject[StagerAdvertisement] = "staging.advertise" // stager: capacity offer, every 5 s and when asked
	StagingLocate    Subject[Signal]              = "staging.locate"    // Cloud Controller: advertise now
	StagingStop      Subject[StagingStopMessage]  = "staging.stop"      // Cloud Controller: give up what runs for an app
	Buildpacks       Subject[BuildpackList]       = "buildpacks"        // Cloud Controller: fetch these ahead of time (2014-09 to 2015-10)

	// StagingQueue asks any one stager, with the answers of StagingStart (until 2016-01). Stagers subscribe to it in the
	// queue group StagingQueueGroup, see [AnswerInGroup].
	StagingQueue Query[StagingRequest, StagingAnswer] = "staging"
)

// StagingQueueGroup is the queue group of StagingQueue: each request reaches one stager.
const StagingQueueGroup = "staging"

// StagingStart returns the subject on which the stager of this id is asked to stage. Two answers come to the reply
// subject: that the set-up is done, and the result. A refusal is the only answer.
func StagingStart(id string) Query[StagingRequest, StagingAnswer] {
	return Query[StagingRequest, StagingAnswer]("staging." + id + ".start")
}

// A StagerAdvertisement offers the capacity of a stager. The Cloud Controller drops it after 10 s.
type StagerAdvertisement struct {
	ID              string   `json:"id" validate:"token"`        // of the stager; it becomes a part of subjects
	Stacks          []string `json:"stacks" validate:"required"` // names of the root file systems it has
	AvailableMemory Int      `json:"available_memory"`           // what is left, MB; may be negative
	AvailableDisk   *Int     `json:"available_disk,omitempty"`   // the same for disk, MB; nil (before 2014-04) means enough
}

// A StagingRequest asks for an app to be staged.
type StagingRequest struct {
	AppID      Text              `json:"app_id,omitempty"`  // app guid; without one a stop does not find the task
	TaskID     Text              `json:"task_id,omitempty"` // comes back in the answers; empty: the stager draws one
	Properties StagingProperties `json:"properties"`        // how to stage

	DownloadURI string `json:"download_uri"` // where to get the app's source; may carry user info
	UploadURI   string `json:"upload_uri"`   // where to put the droplet; may carry user info

	BuildpackCacheDownloadURI string `json:"buildpack_cache_download_uri,omitempty"` // where to get the buildpack cache; empty: there is none
	BuildpackCacheUploadURI   string `json:"buildpack_cache_upload_uri,omitempty"`   // where to put it; empty: nowhere

	// The message that starts instance 0 when the droplet is there. It is checked when it is used: while staging, only
	// its limits count, and it still lacks the droplet's digest.
	StartMessage json.RawMessage `json:"start_message,omitempty"`

	AdminBuildpacks    []AdminBuildpack `json:"admin_buildpacks,omitempty"`     // in the order in which to try them
	EgressNetworkRules []EgressRule     `json:"egress_network_rules,omitempty"` // what may go out while staging (since 2014-06)
	Stack              string           `json:"stack,omitempty"`                // name of the root file system (since 2015-02)
	MemoryLimit        Int              `json:"memory_limit,omitempty"`         // MB; 0: that of the start message
	DiskLimit          Int              `json:"disk_limit,omitempty"`           // MB; 0: that of the start message
	AcceptsHTTP        bool             `json:"accepts_http,omitempty"`         // since 2016; no stager reads it
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

// StagingProperties tell how to stage. Either buildpack and buildpack_git_url are set, or buildpack_key is, or none of the
// three, which means to try the admin buildpacks in order.
type StagingProperties struct {
	Services    Services          `json:"services"`            // VCAP_SERVICES of the staging
	Resources   *StagingResources `json:"resources,omitempty"` // what the app will get; stagers of DEAs do not read it
	Environment []string          `json:"environment"`         // the user's variables, NAME=value
	Meta        StagingMeta       `json:"meta"`                // what else the user said

	Buildpack       string `json:"buildpack,omitempty"`         // git URL of the user's buildpack
	BuildpackGitURL string `json:"buildpack_git_url,omitempty"` // the same; buildpack wins when both are there
	BuildpackKey    string `json:"buildpack_key,omitempty"`     // key of the admin buildpack to use, without detection

	// What requests told of the time before buildpacks, as it was sent: a map, or a name alone. Stagers of DEAs do not read it.
	FrameworkInfo json.RawMessage `json:"framework_info,omitempty"` // how the app is staged, with its name: a map (2012)
	Framework     json.RawMessage `json:"framework,omitempty"`      // the name alone (until 2013)
	RuntimeInfo   json.RawMessage `json:"runtime_info,omitempty"`   // what runs the app, with its name: a map (2012)
	Runtime       json.RawMessage `json:"runtime,omitempty"`        // the name alone (until 2013)
}

// StagingResources are the limits of the app that is staged.
type StagingResources struct {
	Memory Int `json:"memory"` // MB
	Disk   Int `json:"disk"`   // MB
	FDs    Int `json:"fds"`    // open files
}

// UnmarshalJSON implements json.Unmarshaler. Values that are no numbers count as zeros: nobody is refused for what no
// stager of a DEA reads.
func (r *StagingResources) UnmarshalJSON(data []byte) error {
	type plain StagingResources
	var read plain
	if json.Unmarshal(data, &read) != nil {
		read = plain{}
	}
	*r = StagingResources(read)
	return nil
}

// StagingMeta carries the start command that the user gave with the app.
type StagingMeta struct {
	Command string `json:"command,omitempty"` // start command; it comes before that of the buildpack
}

// An AdminBuildpack is a zip file at a URL; new content has a new key.
type AdminBuildpack struct {
	Key string `json:"key"` // names the content, fit to be a directory name
	URL string `json:"url"` // where to get the zip file; may carry user info
}

// A BuildpackList is a bare JSON array of all admin buildpacks. The Cloud Controller sends it when a new stager appears.
type BuildpackList []AdminBuildpack

// A StagingStopMessage gives up all staging of an app.
type StagingStopMessage struct {
	AppID Text `json:"app_id" validate:"required"` // app guid
}
