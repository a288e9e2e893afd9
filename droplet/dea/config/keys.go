package config

import (
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// renamed has the keys that had another name, by their older name. Keys as paths from the top.
var renamed = map[string]string{
	"nats_uri":                     "nats_servers",
	"maximum_health_check_timeout": "default_health_check_timeout",
	"instance.cpu_share_factor":    "instance.memory_to_cpu_share_ratio",
}

// ignored has the keys that have lost their meaning, and what to know.
var ignored = map[string]string{
	"evacuation_delay_secs":    "was used until December 2013; evacuation_bail_out_time_in_seconds counts now",
	"directory_server.v1_port": "was used until December 2013; there is no such server any more",
	"resources.max_instances":  "was used in March 2014; memory and disk alone limit the number of instances",
	"use_http":                 "was used in March 2016; hm9000 and deakit.heartbeat_transport say the same",
	"only_production_apps":     "was used in 2013; apps are not told apart",
	"local_route":              "was used until July 2013; deakit.host sets the address",
	"app_environment":          "was used in 2013; apps get no other variables than their own",
}

// translate gives a pair of a hash its present name, and marks those that are ignored.
func (d *decoder) translate(path string, p pair, hash []pair) pair {
	at := join(path, p.key)
	if text, ok := ignored[at]; ok {
		d.warn(at, p.line, "is ignored: it %s", text)
		p.ignored = true
		return p
	}
	now, ok := renamed[at]
	if !ok || isNull(p.value) {
		return p
	}
	key := now[strings.LastIndexByte(now, '.')+1:]
	if slices.ContainsFunc(hash, func(p pair) bool { return p.key == key && !isNull(p.value) }) {
		d.warn(at, p.line, "is ignored: it is the older name of %s, which is given too", now)
		p.ignored = true
		return p
	}
	d.warn(at, p.line, "is the older name of %s", now)
	p.key = key
	if at == "nats_uri" { // text, where now is a list
		p.value = &yaml.Node{Kind: yaml.SequenceNode, Line: p.value.Line, Content: []*yaml.Node{p.value}}
	}
	return p
}

// fieldAt finds the field for the path of a key, without indices of lists, in a struct.
func fieldAt(hash reflect.Type, path string) (field reflect.StructField, ok bool) {
	for part := range strings.SplitSeq(path, ".") {
		if hash.Kind() == reflect.Pointer {
			hash = hash.Elem()
		}
		if hash.Kind() != reflect.Struct {
			return field, false
		}
		ok = false
		for i := range hash.NumField() {
			if keyOf(hash.Field(i)) == part {
				field, ok = hash.Field(i), true
			}
		}
		if !ok {
			return field, false
		}
		hash = field.Type
	}
	return field, ok
}

// suggest says what an unknown key may have been meant to be: one of like spelling in the same hash, or one of the same
// name elsewhere.
func suggest(path, key string, hash reflect.Type) string {
	const most = 2 // letters that may differ, fewer in short keys
	best, distance := "", min(most, len(key)/3)+1
	for i := range hash.NumField() {
		known := keyOf(hash.Field(i))
		if len(key)-len(known) >= distance || len(known)-len(key) >= distance {
			continue
		}
		if n := differ(key, known); n < distance {
			best, distance = known, n
		}
	}
	if best == "" {
		best = elsewhere(key, "", reflect.TypeFor[Config]())
	} else {
		best = join(path, best)
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// elsewhere finds the path of a key by its last part.
func elsewhere(key, path string, hash reflect.Type) string {
	for i := range hash.NumField() {
		at, inner := join(path, keyOf(hash.Field(i))), hash.Field(i).Type
		if path != "" && keyOf(hash.Field(i)) == key {
			return at
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			if found := elsewhere(key, at, inner); found != "" {
				return found
			}
		}
	}
	return ""
}

// differ counts the letters that have to be put in, taken out, changed or swapped with their neighbour to turn a into b.
func differ(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		beforeThat := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := before[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, before[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], beforeThat[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
