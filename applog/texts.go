package applog

import "fmt"

// The texts by which a DEA tells people what becomes of their app (dea_ng): lines of the source DEA on Stdout, but for
// NotAccepting, which goes to Stderr.

// StartingInstance is told when an instance was made, before anything is done for it.
func StartingInstance(app string, index int) string {
	return fmt.Sprintf("Starting app instance (index %d) with guid %s", index, app)
}

// StoppingInstance is told when an instance is told to end.
func StoppingInstance(app string, index int) string {
	return fmt.Sprintf("Stopping app instance (index %d) with guid %s", index, app)
}

// StoppedInstance is told when nothing is left of it.
func StoppedInstance(app string, index int) string {
	return fmt.Sprintf("Stopped app instance (index %d) with guid %s", index, app)
}

// NotAccepting is told when the health check by port has failed.
func NotAccepting(index int) string {
	return fmt.Sprintf("Instance (index %d) failed to start accepting connections", index)
}

// RemovingCrash is told when the files of a crashed instance are removed.
func RemovingCrash(app string) string {
	return "Removing crash for app with id " + app
}

// StagingRequest is told when a request to stage an app has come.
func StagingRequest(app string) string {
	return "Got staging request for app with id " + app
}

// CrashedInstance is told when an instance has ended by itself or could not be started, and why. It goes to Stderr; dea_ng
// told people nothing of that.
func CrashedInstance(index, status int, description string) string {
	if status < 0 {
		return fmt.Sprintf("Instance (index %d) crashed: %s", index, description)
	}
	return fmt.Sprintf("Instance (index %d) crashed: %s (status %d)", index, description, status)
}
