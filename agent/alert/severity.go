package alert

import (
	"strings"
	"sync"
)

// The severities of alerts, which are those of the system log. Ignored is not sent.
const (
	Ignored  = -1
	Alert    = 1
	Critical = 2
	Error    = 3
	Warning  = 4
)

// Severity returns how serious an event of monit is, by its name in any case: "does not exist". An event that monit is not
// known to send is Critical, and known is false.
func Severity(event string) (severity int, known bool) {
	severity, known = severities()[strings.ToLower(strings.TrimSpace(event))]
	if !known {
		return Critical, false
	}
	return severity, true
}

// severities has the 81 events that both agents know.
var severities = sync.OnceValue(func() map[string]int {
	all := map[string]int{}
	for _, row := range []struct {
		severity int
		suffix   string
		events   string
	}{
		{Alert, "", "connection failed, execution failed, does not exist, monit instance failed"},
		{Critical, "", "checksum failed, icmp failed, pid failed, ppid failed, timeout, uid failed"},
		{Error, "", "connection changed, content failed, content doesn't match, data access error, filesystem flags failed, gid failed, " +
			"heartbeat failed, invalid type, permission failed, resource limit matched, size failed, size changed, timestamp failed"},
		{Warning, " changed", "checksum, data access, execution, filesystem flags, gid, heartbeat, icmp, type, existence, permission, pid, " +
			"ppid, resource limit, timeout, timestamp, uid"},
		{Ignored, "", "action done, exists, content match, timeout recovery, monit instance changed"},
		{Ignored, " succeeded", "checksum, connection, content, data access, execution, filesystem flags, gid, heartbeat, icmp, " +
			"monit instance, type, permission, pid, ppid, resource limit, size, timestamp, uid"},
		{Ignored, " not changed", "checksum, connection, data access, execution, filesystem flags, gid, heartbeat, icmp, monit instance, " +
			"type, existence, permission, pid, ppid, resource limit, size, timeout, timestamp, uid"},
	} {
		for event := range strings.SplitSeq(row.events, ", ") {
			all[event+row.suffix] = row.severity
		}
	}
	return all
})
