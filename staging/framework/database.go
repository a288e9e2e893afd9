package framework

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const databaseYML = "app/config/database.yml"

// configureDatabase makes the database that is bound to a Rails app the one of its production environment. Without one,
// config/database.yml stays as it is.
func configureDatabase(t *Tree) error {
	service, err := boundDatabase(t.Properties.Services)
	if err != nil || service == nil {
		return err
	}
	if service.Credentials == nil {
		return wrong("Database binding failed to include credentials")
	}
	settings, _, err := t.Read(databaseYML)
	if err != nil {
		return err
	}
	text, err := withProduction(settings, *service)
	if err != nil {
		return err
	}
	return t.Rewrite(databaseYML, text)
}

var production = regexp.MustCompile(`(?m)^.*production$|^.*prod$`)

// boundDatabase returns the database among services that Rails is to use; nil if there is none.
func boundDatabase(services []Service) (*Service, error) {
	var found []Service
	for _, s := range services {
		if strings.HasPrefix(s.Label, "mysql") || strings.HasPrefix(s.Label, "postgresql") {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	for _, s := range found {
		if production.MatchString(s.Name) {
			return &s, nil
		}
	}
	return nil, wrong("Unable to determine primary database from multiple.  Please bind only one database service to Rails applications.")
}

// withProduction puts the settings of a service under the key production. What else the file says stays as it is written;
// nothing of it is expanded.
func withProduction(settings []byte, service Service) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(settings, &doc); err != nil {
		return "", wrong("config/database.yml cannot be read: %w", err)
	}
	top := &yaml.Node{Kind: yaml.MappingNode}
	if len(doc.Content) > 0 && doc.Content[0].ShortTag() != "!!null" {
		top = doc.Content[0]
	}
	if top.Kind != yaml.MappingNode {
		return "", wrong("config/database.yml is no map of environments")
	}
	value := databaseSettings(service)
	replaced := false
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == "production" {
			value.Anchor = top.Content[i+1].Anchor // others may refer to it
			top.Content[i+1], replaced = value, true
		}
	}
	if !replaced {
		top.Content = append(top.Content, text("production"), value)
	}
	plainMerges(top)
	var out bytes.Buffer
	out.WriteString("---\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return "", wrong("config/database.yml cannot be written: %w", err)
	}
	if err := yaml.Unmarshal(out.Bytes(), &doc); err != nil {
		return "", wrong("config/database.yml cannot be written, as other environments refer to parts of production: %w", err)
	}
	if !hasProduction(&doc, len(value.Content)) { // the encoder breaks keys that are lists with comments
		return "", wrong("config/database.yml cannot be written: name each environment by plain text")
	}
	return out.String(), nil
}

// hasProduction tells whether a document has a map with so many nodes under the key production.
func hasProduction(doc *yaml.Node, nodes int) bool {
	if len(doc.Content) == 0 {
		return false
	}
	top := doc.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == "production" && len(top.Content[i+1].Content) == nodes {
			return top.Kind == yaml.MappingNode
		}
	}
	return false
}

// databaseSettings are the settings of ActiveRecord for a service.
func databaseSettings(service Service) *yaml.Node {
	adapter := "postgresql"
	if strings.HasPrefix(service.Label, "mysql") {
		adapter = "mysql2"
	}
	settings := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key string, value *yaml.Node) { settings.Content = append(settings.Content, text(key), value) }
	plain := func(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }
	c := service.Credentials
	add("adapter", text(adapter))
	add("encoding", text("utf8"))
	add("pool", plain("5"))
	add("reconnect", plain("false"))
	add("host", text(c.Hostname))
	if digits.MatchString(c.Port) {
		add("port", plain(c.Port))
	} else {
		add("port", text(c.Port))
	}
	add("username", text(c.User))
	add("password", text(c.Password))
	add("database", text(c.Name))
	return settings
}

var digits = regexp.MustCompile(`^[1-9][0-9]*$`)

// text is a node that stays text, whatever it looks like.
func text(value string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(value)
	return node
}

// plainMerges has merge keys written as "<<" alone, without a tag that old versions of Ruby do not know. The tree has no
// circles: aliases are not followed.
func plainMerges(node *yaml.Node) {
	if node.Tag == "!!merge" {
		node.Tag = ""
	}
	for _, child := range node.Content {
		plainMerges(child)
	}
}
