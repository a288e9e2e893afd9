package messaging

import (
	"fmt"
	"time"
)

// Subjects by which a collector finds the status endpoints of all components of a platform (vcap-common, until 2016-02).
const (
	ComponentAnnounce Subject[Component]       = "vcap.component.announce" // component: I have come up
	ComponentDiscover Query[Signal, Component] = "vcap.component.discover" // collector: who is there?
)

// A Component tells where the figures of a component are read. It carries the password for them: never log it.
type Component struct {
	Type  string `json:"type" validate:"required"` // "DEA", "Router", ...
	Index Int    `json:"index"`                    // of the component among those of its type
	UUID  string `json:"uuid" validate:"required"` // for a DEA its id
	Host  string `json:"host" validate:"required"` // ip:port of its status endpoint (/healthz, /varz)

	Credentials []string `json:"credentials" validate:"len=2"` // user and password for it, basic authentication

	Start  string `json:"start"`            // when it came up: "2014-02-28 15:13:08 -0800"
	Uptime string `json:"uptime,omitempty"` // "0d:0h:12m:7s"; in answers only
}

// Uptime writes a duration in the form of Component.Uptime, "0d:0h:12m:7s". One below zero counts as zero.
func Uptime(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	return fmt.Sprintf("%dd:%dh:%dm:%ds", s/86400, s/3600%24, s/60%60, s%60)
}
