package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/deakit/deakit/droplet"
)

// A table is what people read of a droplet: names and values.
type table struct{ rows [][2]string }

func (t *table) add(name, value string) { t.rows = append(t.rows, [2]string{name, value}) }

// buildpacks tells who took part.
func (t *table) buildpacks(detected string, all []droplet.BuildpackInfo) {
	for _, bp := range all {
		text := cmp.Or(bp.Name, bp.Key)
		if bp.Key != "" && bp.Key != text {
			text += " (" + bp.Key + ")"
		}
		if bp.Version != "" {
			text += " " + bp.Version
		}
		t.add("buildpack", text)
	}
	if len(all) == 0 && detected != "" {
		t.add("buildpack", detected)
	}
}

// commands tells how the process types are started.
func (t *table) commands(start string, types map[string]string) {
	if start != "" && types["web"] != start {
		t.add("start", start)
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t.add(name, types[name])
	}
}

// write writes the rows, with what a droplet tells of itself on one line each.
func (t *table) write(out io.Writer) {
	width := 0
	for _, row := range t.rows {
		width = max(width, len(printable(row[0])))
	}
	for _, row := range t.rows {
		// Whoever reads this sees it, or there is nobody to be told.
		_, _ = fmt.Fprintf(out, "%-*s  %s\n", width, oneLine(row[0]), oneLine(row[1]))
	}
}

func oneLine(s string) string { return printable(strings.ReplaceAll(s, "\n", "; ")) }
