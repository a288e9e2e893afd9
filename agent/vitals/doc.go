// Package vitals measures how a machine is: load, processors, memory, swap, disks and uptime, in the form in which a BOSH agent
// tells them ([messaging.AgentVitals]), and how well its clock is set ([NTP]).
//
// Everything is read from /proc and by statfs when it is asked for; only the processors need [Source.Run], because what they do
// is told over an interval.
package vitals
