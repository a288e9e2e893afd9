package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-playground/validator/v10"
)

// settle says what of the file does not count, and what it lacks that it may lack.
func (d *decoder) settle(c *Config) {
	if line, ok := d.given["instance.cpu_limit_shares"]; ok && d.has("instance.memory_to_cpu_share_ratio") {
		d.warn("instance.cpu_limit_shares", line, "is ignored: memory_to_cpu_share_ratio is given too")
		c.Instance.CPULimitShares = 0
	}
	if line, ok := d.given["instance"]; ok && c.Instance.CPULimitShares == 0 { // files of its time had none of these
		var lacking []string
		for _, key := range []string{"memory_to_cpu_share_ratio", "max_cpu_share_limit", "min_cpu_share_limit", "disk_inode_limit"} {
			if !d.has("instance." + key) {
				lacking = append(lacking, key)
			}
		}
		if len(lacking) > 0 {
			d.warn("instance", line, "lacks %s: their defaults apply, but dea_ng demands all once instance is given",
				strings.Join(lacking, ", "))
		}
	}
	if urls := c.Deakit.FileURLs; urls != nil {
		d.settleLifetime(urls.Lifetime)
	}
	if c.Domain == "" && !d.hasFailed("domain") {
		d.warn("domain", 0, "is not given: files of instances cannot be reached by URL")
	}
}

// check finds all that is wrong with the values. What could not be decoded is not reported again.
func (d *decoder) check(c *Config) {
	d.checkFields(c)
	if !d.has("index") && !d.hasFailed("index") {
		d.fail("index", 0, "is required") // 0 is a valid index
	}
	for i := range c.Stacks {
		path := fmt.Sprintf("stacks[%d]", i)
		if d.has(path+".name") && !d.has(path+".package_path") {
			d.fail(path+".package_path", d.line(path), "is required beside name; a stack without it is written as its name alone")
		}
	}
	d.checkShares(c.Instance)
	d.checkFileURLs(c.Deakit.FileURLs)
	d.checkPorts(
		server{"directory_server.v2_port", c.DirectoryServer.V2Port}, server{"directory_server.file_api_port", c.DirectoryServer.FileAPIPort},
		server{"status.port", c.Status.Port}, server{"ssl.port", c.sslPort()},
		server{"deakit.directory_status_port", c.Deakit.DirectoryStatusPort},
	)
	if h := c.HM9000; h != nil {
		d.checkFiles("hm9000", "HM9000", h.KeyFile, h.CertFile, h.CAFile)
	} else if t := "deakit.heartbeat_transport"; c.Deakit.HeartbeatTransport == "http" || c.Deakit.HeartbeatTransport == "both" {
		d.fail(t, d.line(t), "needs hm9000, which says where to send heartbeats")
	}
	if s := c.SSL; s != nil {
		d.checkFiles("ssl", "SSL", s.KeyFile, s.CertFile, s.CAFile)
	}
}

// checkFields finds what is wrong with single values of cfg, a pointer to a struct.
func (d *decoder) checkFields(cfg any) {
	var fields validator.ValidationErrors
	if err := validate().Struct(cfg); err != nil && !errors.As(err, &fields) {
		d.fail("", 0, "%v", err)
	}
	for _, field := range fields {
		_, path, _ := strings.Cut(field.Namespace(), ".") // after the name of the type
		if d.hasFailed(path) {
			continue
		}
		text := explain(field)
		if must := d.must(path); must != "" {
			text = "must be " + must
		}
		if !d.has(path) {
			text = d.required(path)
		}
		if path == "intervals.router_register_in_seconds" {
			text = "Invalid router register interval: " + text // dea_ng
		}
		d.fail(path, d.line(path), "%s", text)
	}
}

// A server is a port, and the key that it comes from.
type server struct {
	path string
	port uint16
}

// checkPorts finds servers that would be in each other's way.
func (d *decoder) checkPorts(servers ...server) {
	taken := map[uint16]string{}
	for _, s := range servers {
		other, found := taken[s.port]
		switch {
		case s.port == 0 || d.hasFailed(s.path):
		case found:
			d.fail(s.path, d.line(s.path), "must not be the same as %s", other)
		default:
			taken[s.port] = s.path
		}
	}
}

func (c *Config) sslPort() uint16 {
	if c.SSL == nil {
		return 0
	}
	return c.SSL.Port
}

func (d *decoder) checkShares(c Instance) {
	least, most := "instance.min_cpu_share_limit", "instance.max_cpu_share_limit"
	if c.MinCPUShareLimit <= c.MaxCPUShareLimit || d.hasFailed(least) || d.hasFailed(most) {
		return
	}
	if d.has(least) {
		d.fail(least, d.line(least), "must not be more than max_cpu_share_limit, which is 256 when absent")
	} else {
		d.fail(most, d.line(most), "must not be less than min_cpu_share_limit, which is 1 when absent")
	}
}

// checkFiles looks for certificate files, in the words of dea_ng.
func (d *decoder) checkFiles(path, name string, files ...string) {
	var missing []string
	for _, file := range files {
		if info, err := os.Stat(file); file != "" && (err != nil || info.IsDir()) {
			missing = append(missing, file)
		}
	}
	if len(missing) > 0 && !d.hasFailed(path) {
		d.fail(path, d.line(path), "Invalid %s Certs: One or more files not found: %s", name, strings.Join(missing, ", "))
	}
}

// required says that a key is missing, and why it is missed.
func (d *decoder) required(path string) string {
	hash, key := parent(path), path[strings.LastIndexByte(path, '.')+1:]
	switch hash[strings.LastIndexByte(hash, '.')+1:] {
	case "bandwidth_limit":
		other := map[string]string{"rate": "burst", "burst": "rate"}[key]
		if d.has(join(hash, other)) {
			return "is required when " + other + " is given"
		}
		return "is required when bandwidth_limit is given"
	case "hm9000", "ssl":
		return "is required when " + hash + " is given"
	default:
		return "is required"
	}
}

func (d *decoder) has(path string) bool {
	_, ok := d.given[path]
	return ok
}

// hasFailed tells whether there is a problem with the value at path, or with one that it is part of.
func (d *decoder) hasFailed(path string) bool {
	for ; path != ""; path = parent(path) {
		if d.failed[path] {
			return true
		}
	}
	return d.failed[""]
}

// line of the value at path, or else of the nearest one that it would be part of; 0 for none.
func (d *decoder) line(path string) int {
	for ; path != ""; path = parent(path) {
		if line, ok := d.given[path]; ok {
			return line
		}
	}
	return 0
}

// parent turns "a.b[1].c" into "a.b[1]", and that into "a.b".
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }
