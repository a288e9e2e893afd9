package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/deakit/deakit/agent/client"
)

// show prints a result, and tells of an errand that failed.
func (c *cli) show(method string, value json.RawMessage) error {
	var err error
	switch {
	case c.JSON:
		_, err = fmt.Fprintf(c.out, "%s\n", value)
	case method == "run_errand":
		err = c.showErrand(value)
	case method == "get_state":
		err = c.showState(value)
	default:
		err = c.showValue(value)
	}
	if err == nil && method == "run_errand" {
		var e client.Errand
		if json.Unmarshal(value, &e) == nil && e.ExitCode != 0 {
			return fmt.Errorf("%w: exit code %d", errErrand, e.ExitCode)
		}
	}
	return err
}

// showValue prints text as it is, and other JSON for people.
func (c *cli) showValue(value json.RawMessage) error {
	var text string
	if json.Unmarshal(value, &text) == nil && !bytes.Equal(value, []byte("null")) {
		_, err := fmt.Fprintln(c.out, text)
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, value, "", "  "); err != nil {
		return fmt.Errorf("the agent's result: %w", err)
	}
	_, err := fmt.Fprintln(c.out, pretty.String())
	return err
}

// showErrand gives each of the errand's outputs its own.
func (c *cli) showErrand(value json.RawMessage) error {
	var e client.Errand
	if err := json.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("the errand's result: %w", err)
	}
	fmt.Fprint(os.Stderr, e.Stderr)
	_, err := fmt.Fprint(c.out, e.Stdout)
	return err
}

// showState prints what people look for first. The rest is in --json.
func (c *cli) showState(value json.RawMessage) error {
	var s client.State
	if err := json.Unmarshal(value, &s); err != nil {
		return c.showValue(value)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) } // errors are kept for Flush
	line("agent", s.AgentID)
	line("jobs", s.JobState)
	if s.Deployment != "" {
		line("deployment", s.Deployment)
	}
	if s.Name != "" {
		line("instance", fmt.Sprintf("%s/%s", s.Name, s.ID))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		line("network "+name, s.Networks[name].IP)
	}
	for _, p := range s.Processes {
		line("process "+p.Name, p.State)
	}
	if v := s.Vitals; v != nil {
		line("vitals", printable(strings.Join(figures(*v), ", ")))
	}
	return w.Flush()
}
