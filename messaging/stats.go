package messaging

import (
	"fmt"
	"time"
)

// Stats of a running instance.
type Stats struct {
	Name      string   `json:"name"`       // of the app
	URIs      []string `json:"uris"`       // its routes
	Host      string   `json:"host"`       // IP address of the DEA
	Port      *uint16  `json:"port"`       // TCP port; null when the instance has none
	Uptime    Int      `json:"uptime"`     // seconds since STARTING
	MemQuota  int64    `json:"mem_quota"`  // bytes
	DiskQuota int64    `json:"disk_quota"` // bytes
	FDsQuota  int64    `json:"fds_quota"`  // open files
	Usage     Usage    `json:"usage"`      // the last measurement
}

// Usage is the last measurement of an instance.
type Usage struct {
	Time string  `json:"time"` // of the measurement: "2014-02-28 23:13:08 +0000"
	CPU  float64 `json:"cpu"`  // fraction of one core: 2.0 is two whole cores (percent in spring 2016, by mistake)
	Mem  int64   `json:"mem"`  // bytes (kilobytes until December 2013)
	Disk int64   `json:"disk"` // bytes
}

// UsageTimeLayout is the form of Usage.Time, of Component.Start and of the times in VCAP_APPLICATION.
const UsageTimeLayout = "2006-01-02 15:04:05 -0700"

// Taken reads Time, also in the forms that other clocks of the platform write: with "UTC" for the zone, and ISO 8601.
func (u Usage) Taken() (time.Time, error) {
	for _, layout := range []string{UsageTimeLayout, "2006-01-02 15:04:05 UTC", time.RFC3339} {
		if t, err := time.Parse(layout, u.Time); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("usage time %.40q: want the form %q", u.Time, UsageTimeLayout)
}
