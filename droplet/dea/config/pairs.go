package config

import (
	"regexp"

	"go.yaml.in/yaml/v3"
)

// A pair is one key of a hash with its value.
type pair struct {
	key     string
	line    int
	value   *yaml.Node
	ignored bool // nobody asks for the value any more
}

// pairs returns the entries of a hash in their order, each key once. Those of a hash that is merged with "<<" come where
// the hash itself has none.
func (d *decoder) pairs(path string, node *yaml.Node, depth int) []pair {
	var own, merged []pair
	at := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if d.tooMany(path, key.Line) {
			break
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merge(path, value, depth)...)
		case key.Kind != yaml.ScalarNode || !keyText.MatchString(key.Value):
			d.warn(path, key.Line, "has an entry that is left out: a key has at most 64 letters, digits, '_', '-' and '.'")
		default:
			p := pair{key: key.Value, line: key.Line, value: value}
			if earlier, twice := at[p.key]; twice {
				d.warn(join(path, p.key), p.line, "was given in line %d already; this one counts", own[earlier].line)
				own[earlier] = p
				continue
			}
			at[p.key] = len(own)
			own = append(own, p)
		}
	}
	for _, p := range merged {
		if _, twice := at[p.key]; !twice {
			at[p.key] = len(own)
			own = append(own, p)
		}
	}
	return own
}

// keyText keeps what may be a value in the wrong place out of warnings.
var keyText = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// merge returns the entries of the hash, or of the list of hashes, that "<<" refers to.
func (d *decoder) merge(path string, node *yaml.Node, depth int) []pair {
	if depth == maxDepth {
		d.fail(path, node.Line, "is merged from hashes that are nested too deep, or lead in a circle")
		return nil
	}
	if d.tooMany(path, node.Line) {
		return nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return d.merge(path, node.Alias, depth+1)
	case yaml.MappingNode:
		return d.pairs(path, node, depth+1)
	case yaml.SequenceNode:
		var all []pair
		for _, entry := range node.Content {
			all = append(all, d.merge(path, entry, depth+1)...)
		}
		return all
	default:
		d.fail(path, node.Line, "has a << that refers to no hash")
		return nil
	}
}
