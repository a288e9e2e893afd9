package logging

import "time"

// SetRetryPause shortens the pause after which a system log that was not there is looked for again.
func (o *Output) SetRetryPause(d time.Duration) {
	o.syslog.mu.Lock()
	defer o.syslog.mu.Unlock()
	o.syslog.pause = d
}
