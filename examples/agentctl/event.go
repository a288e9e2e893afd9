package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// describe puts an event into words.
func describe(event heartbeat.AgentEvent) (name, text string) {
	switch event := event.(type) {
	case heartbeat.AgentBeat:
		name = "beat"
		if event.Before.Life == heartbeat.Lost {
			name = "back"
		} else if event.Before.Seen.IsZero() {
			name = "first"
		}
		return name, describeBeat(event.Beat)
	case heartbeat.AgentAlerted:
		text = severity(event.Alert.Severity) + ": " + event.Alert.Title
		if event.Alert.Summary != "" {
			text += ": " + event.Alert.Summary
		}
		return "alert", text
	case heartbeat.AgentLeft:
		return "leaves", "its silence will be no loss"
	case heartbeat.AgentLost:
		if event.Seen.IsZero() {
			return "lost", "never heard"
		}
		return "lost", "last heard at " + event.Seen.Format(time.TimeOnly)
	case heartbeat.AgentRogue:
		return "rogue", "speaks, and is not among those that should be there"
	}
	return "?", fmt.Sprintf("%T", event)
}

// describeBeat leaves out what an agent did not tell.
func describeBeat(beat messaging.AgentHeartbeat) string {
	parts := []string{string(beat.JobState)}
	add := func(told bool, format string, values ...any) {
		if told {
			parts = append(parts, fmt.Sprintf(format, values...))
		}
	}
	add(beat.Processes != nil, "%s processes", count(beat.Processes))
	if beat.Job != nil {
		add(true, "%s %s/%s", beat.Deployment, *beat.Job, count(beat.Index))
	}
	return strings.Join(append(parts, figures(beat.Vitals)...), ", ")
}

// figures are how a machine is.
func figures(vitals messaging.AgentVitals) (parts []string) {
	add := func(told bool, format string, values ...any) {
		if told {
			parts = append(parts, fmt.Sprintf(format, values...))
		}
	}
	add(len(vitals.Load) > 0, "load %s", join(vitals.Load))
	if cpu := vitals.CPU; cpu != nil {
		add(true, "cpu %s%% user %s%% sys %s%% wait", cpu.User, cpu.System, cpu.Wait)
	}
	for _, memory := range []struct {
		name string
		used *messaging.AgentMemory
	}{{"mem", vitals.Mem}, {"swap", vitals.Swap}} {
		if memory.used != nil {
			add(true, "%s %s%%", memory.name, memory.used.Percent)
		}
	}
	for _, disk := range []struct {
		name string
		used *messaging.AgentDisk
	}{{"system", vitals.Disk.System}, {"ephemeral", vitals.Disk.Ephemeral}, {"persistent", vitals.Disk.Persistent}} {
		if disk.used != nil {
			add(true, "%s disk %s%%", disk.name, disk.used.Percent)
		}
	}
	return parts
}

func join(texts []messaging.Text) string {
	var all []string
	for _, text := range texts {
		all = append(all, string(text))
	}
	return strings.Join(all, " ")
}

// count is a number that may not have been told.
func count(n *int) string {
	if n == nil {
		return "?"
	}
	return strconv.Itoa(*n)
}

func severity(n int) string {
	names := map[int]string{1: "alert", 2: "critical", 3: "error", 4: "warning"}
	if name, ok := names[n]; ok {
		return name
	}
	return "severity " + strconv.Itoa(n)
}

// printable shows what agents sent without giving them the terminal.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, line)
}

// printJSON prints an event as one line. First and back tell of a heartbeat that it is the first one, or the first after a loss.
func printJSON(out io.Writer, now time.Time, event heartbeat.AgentEvent) error {
	status := event.Status()
	line := struct {
		Time  time.Time                 `json:"time"`
		Event string                    `json:"event"` // heartbeat, alert, shutdown, lost, rogue
		Agent string                    `json:"agent"`
		Beat  *messaging.AgentHeartbeat `json:"heartbeat,omitempty"`
		First bool                      `json:"first,omitempty"`
		Back  bool                      `json:"back,omitempty"`
		Alert *messaging.AgentAlert     `json:"alert,omitempty"`
		Seen  time.Time                 `json:"seen,omitzero"` // of who is lost: the last heartbeat, if there was one
	}{Time: now, Agent: status.ID}
	switch event := event.(type) {
	case heartbeat.AgentBeat:
		line.Event, line.Beat = "heartbeat", &event.Beat
		line.First, line.Back = event.Before.Seen.IsZero(), event.Before.Life == heartbeat.Lost
	case heartbeat.AgentAlerted:
		line.Event, line.Alert = "alert", &event.Alert
	case heartbeat.AgentLeft:
		line.Event = "shutdown"
	case heartbeat.AgentLost:
		line.Event, line.Seen = "lost", event.Seen
	case heartbeat.AgentRogue:
		line.Event = "rogue"
	}
	return json.NewEncoder(out).Encode(line)
}
