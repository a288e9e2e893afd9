package vitals

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/deakit/deakit/messaging"
)

// ntpLine is what ntpdate writes when it has set the clock:
// "14 Oct 11:13:19 ntpdate[1031]: adjust time server 10.0.0.1 offset -0.06423 sec".
var ntpLine = regexp.MustCompile(`^(.+?)\s+ntpdate.+offset\s+([+-]?\d+(?:\.\d+)?)`)

// NTP tells how well the clock is set, by the last line of the log of ntpdate, which is base/bosh/log/ntpdate.out. It always has
// an answer.
func NTP(log string) messaging.AgentNTP {
	line, err := lastLine(log)
	if errors.Is(err, fs.ErrNotExist) {
		return messaging.AgentNTP{Message: "file missing"}
	}
	if match := ntpLine.FindStringSubmatch(line); err == nil && match != nil {
		return messaging.AgentNTP{Timestamp: match[1], Offset: messaging.Text(match[2])}
	}
	if strings.Contains(line, "no server suitable for synchronization found") {
		return messaging.AgentNTP{Message: "bad ntp server"}
	}
	return messaging.AgentNTP{Message: "bad file contents"}
}

// lastLine reads the end of a file.
func lastLine(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	const enough = 4 << 10
	data, err := io.ReadAll(io.NewSectionReader(f, max(info.Size()-enough, 0), enough))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1], err
}
