package messaging

import "encoding/json"

// A StagerError is a failure of the stager of the time before buildpacks. Until 2012-05-02 its JSON was the error of the
// answer, as a string; since then the text of one of class TaskFailed is.
type StagerError struct {
	Class   StagerErrorClass `json:"class"`
	Details string           `json:"details,omitempty"`
}

// A StagerErrorClass says what failed.
type StagerErrorClass string

// The classes (vcap_stager).
const (
	TaskFailed            StagerErrorClass = "VCAP::Stager::TaskError"
	AppDownloadFailed     StagerErrorClass = "VCAP::Stager::AppDownloadError"
	AppUnzipFailed        StagerErrorClass = "VCAP::Stager::AppUnzipError"
	StagingPluginFailed   StagerErrorClass = "VCAP::Stager::StagingPluginError"
	StagingTimedOut       StagerErrorClass = "VCAP::Stager::StagingTimeoutError"
	DropletCreationFailed StagerErrorClass = "VCAP::Stager::DropletCreationError"
	DropletUploadFailed   StagerErrorClass = "VCAP::Stager::DropletUploadError"
	StagerFailed          StagerErrorClass = "VCAP::Stager::InternalError"
)

// descriptions are what the classes mean, in the words of the original.
var descriptions = map[StagerErrorClass]string{
	TaskFailed:            "Staging task failed",
	AppDownloadFailed:     "Failed downloading application from the Cloud Controller",
	AppUnzipFailed:        "Failed unzipping application",
	StagingPluginFailed:   "Staging plugin failed staging application",
	StagingTimedOut:       "Staging operation timed out",
	DropletCreationFailed: "Failed creating droplet",
	DropletUploadFailed:   "Failed uploading droplet to the Cloud Controller",
	StagerFailed:          "Unexpected internal error encountered (possibly a bug).",
}

// Error is the description of the class and, on a line of their own, the details. A class that is not known stands for itself.
func (e StagerError) Error() string {
	text, known := descriptions[e.Class]
	if !known {
		text = string(e.Class)
	}
	if e.Details == "" {
		return text
	}
	return text + ":\n " + e.Details
}

// ParseStagerError reads the error of an answer from before 2012-05-02: a JSON object with a class. Other texts are none.
func ParseStagerError(text string) (StagerError, bool) {
	var read struct{ Class, Details *string }
	if json.Unmarshal([]byte(text), &read) != nil || read.Class == nil || *read.Class == "" {
		return StagerError{}, false
	}
	e := StagerError{Class: StagerErrorClass(*read.Class)}
	if read.Details != nil {
		e.Details = *read.Details
	}
	return e, true
}

// Encode returns the error as answers had it until 2012-05-02.
func (e StagerError) Encode() string {
	data, _ := json.Marshal(e) // two strings: it cannot fail
	return string(data)
}
