package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
)

// least is the smallest file: what is required and a domain.
const least = `base_dir: /d
pid_filename: /p
logging: {level: info}
nats_servers: [nats://h:4222]
index: 0
domain: example.com
directory_server: {protocol: http, v2_port: 1, file_api_port: 2}
stacks: [s]
`

// load parses least with more lines, of which each replaces the one with the same key.
func load(t *testing.T, more string) (*config.Config, []string, []string) {
	t.Helper()
	lines := least
	for line := range strings.Lines(more) {
		if key, _, found := strings.Cut(line, ":"); found && !strings.HasPrefix(key, " ") {
			if at := strings.Index("\n"+lines, "\n"+key+":"); at >= 0 {
				lines = lines[:at] + lines[at+strings.Index(lines[at:], "\n")+1:]
			}
		}
	}
	c, warnings, err := config.Parse([]byte(more + "\n" + lines))
	if err == nil {
		return c, nil, texts(warnings)
	}
	assert.Nil(t, c)
	var invalid *config.InvalidError
	require.ErrorAs(t, err, &invalid, "%s", more)
	var problems []string
	for _, p := range invalid.Problems {
		problems = append(problems, p.String())
	}
	require.NotEmpty(t, problems)
	return nil, problems, texts(warnings)
}

func TestLeastFile(t *testing.T) {
	c, problems, warnings := load(t, "")
	require.Empty(t, problems)
	assert.Empty(t, warnings)
	want := config.Default()
	want.BaseDir, want.PIDFilename, want.Logging.Level, want.Domain = "/d", "/p", "info", "example.com"
	want.NATSServers, want.Stacks = []config.URL{"nats://h:4222"}, []config.Stack{{Name: "s"}}
	want.DirectoryServer = config.DirectoryServer{Protocol: "http", V2Port: 1, FileAPIPort: 2, StreamingTimeout: time.Minute}
	assert.Equal(t, want, *c)
}

func TestMissingKeysAreToldAllAtOnce(t *testing.T) {
	for _, text := range []string{"", "{}", "# nothing\n", "~"} {
		_, _, err := config.Parse([]byte(text))
		var invalid *config.InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, `Validation config failed with errors: 9
  base_dir: is required
  logging.level: is required
  nats_servers: is required
  pid_filename: is required
  directory_server.protocol: is required
  directory_server.v2_port: is required
  directory_server.file_api_port: is required
  stacks: is required
  index: is required`, err.Error())
	}
}

func TestRefused(t *testing.T) {
	forNATS := "must have the form nats://[user:password@]host:port"
	for more, want := range map[string][]string{
		// Types.
		"base_dir: 7":                 {"line 1: base_dir: must be text: put it in quotes"},
		"base_dir: [a]":               {"line 1: base_dir: must be a single value, not a list"},
		"base_dir: ''":                {"line 1: base_dir: must not be empty"},
		"base_dir:":                   {"base_dir: is required"},
		"nats_servers: nats://h":      {"line 1: nats_servers: must be a list, not a single value"},
		"nats_servers: {a: b}":        {"line 1: nats_servers: must be a list, not a hash of keys"},
		"logging: info":               {"line 1: logging: must be a hash of keys, not a single value"},
		"index: '0'":                  {"line 1: index: must be a whole number: take the quotes away"},
		"index: 0.0":                  {"line 1: index: must be a whole number"},
		"index: -1":                   {"line 1: index: must be at least 0"},
		"index: 3000000000":           {"line 1: index: must be at most 2147483647"},
		"index: 99999999999999999999": {"line 1: index: must be a whole number"},
		"index: 18446744073709551615": {"line 1: index: must be a whole number of at most 63 bits"},
		"resources: {memory_overcommit_factor: '2'}":   {"line 1: resources.memory_overcommit_factor: must be a number: take the quotes away"},
		"resources: {memory_overcommit_factor: .nan}":  {"line 1: resources.memory_overcommit_factor: must be a number"},
		"resources: {memory_overcommit_factor: -.inf}": {"line 1: resources.memory_overcommit_factor: must be a number"},
		"staging: {enabled: 1}":                        {"line 1: staging.enabled: must be true or false"},
		"staging: {enabled: 'true'}":                   {"line 1: staging.enabled: must be true or false: take the quotes away"},
		"intervals: {heartbeat: 2.5}":                  {"line 1: intervals.heartbeat: must be a whole number of seconds"},
		"staging: {environment: [A]}":                  {"line 1: staging.environment: must be a hash of keys, not a list"},
		"staging: {environment: {A: [1]}}":             {"line 1: staging.environment[A]: must be a single value, not a list"},
		"staging: {environment: {A-B: c}}":             {"line 1: staging.environment[A-B]: must be named with letters, digits and '_', as variables are"},
		"directory_server: {protocol: http, v2_port: 70000, file_api_port: 0}": {
			"line 1: directory_server.v2_port: must be a port number from 1 to 65535",
			"line 1: directory_server.file_api_port: must be a port number from 1 to 65535",
		},
		"directory_server: {protocol: ftp, v2_port: -1}": {
			"line 1: directory_server.v2_port: must be a port number from 1 to 65535",
			"line 1: directory_server.protocol: must be one of http, https",
			"line 1: directory_server.file_api_port: is required",
		},
		// Values.
		"logging: {level: loud}":                        {"line 1: logging.level: must be one of off, fatal, error, warn, info, debug, debug1, debug2, all"},
		"logging: {file: /x}":                           {"line 1: logging.level: is required"},
		"nats_servers: [nats://h, 'http://u:secret@h']": {"line 1: nats_servers[1]: " + forNATS},
		"nats_servers: [nats://h:99999, ~, 4]": {
			"line 1: nats_servers[1]: must be text: put it in quotes",
			"line 1: nats_servers[2]: must be text: put it in quotes",
			"line 1: nats_servers[0]: " + forNATS,
		},
		"nats_servers: []":                         {"line 1: nats_servers: needs at least one entry"},
		"stacks: []":                               {"line 1: stacks: needs at least one entry"},
		"stacks: [a, a]":                           {"line 1: stacks: must not have the same entry twice"},
		"stacks: [{name: a}]":                      {"line 1: stacks[0].package_path: is required beside name; a stack without it is written as its name alone"},
		"stacks: [{package_path: /a}]":             {"line 1: stacks[0].name: is required"},
		"stacks: [7]":                              {"line 1: stacks[0]: must be a hash of keys, not a single value"},
		"placement_properties: {zone: ''}":         {"line 1: placement_properties.zone: must not be empty"},
		"domain: a b":                              {"line 1: domain: must be a host name"},
		"domain: http://x":                         {"line 1: domain: must be a host name"},
		"service_name: u:secret@x":                 {"line 1: service_name: must be a host name"},
		"cc_url: ftp://u:secret@x":                 {"line 1: cc_url: must have the form http://[user:password@]host[:port][/path], or https://…"},
		"crash_lifetime_secs: 0":                   {"line 1: crash_lifetime_secs: must be more than 0 seconds"},
		"crash_inode_usage_ratio_threshold: 1.5":   {"line 1: crash_inode_usage_ratio_threshold: must be at most 1"},
		"crash_block_usage_ratio_threshold: 0":     {"line 1: crash_block_usage_ratio_threshold: must be more than 0"},
		"default_health_check_timeout: 40000000":   {"line 1: default_health_check_timeout: must be at most 31536000 seconds"},
		"default_health_check_timeout: 4000000000": {"line 1: default_health_check_timeout: must be a number of seconds of less than a century"},
		"status: {port: 65536}":                    {"line 1: status.port: must be a port number from 0 to 65535"},
		"resources: {memory_mb: 0, disk_mb: 8796093022208}": {
			"line 1: resources.memory_mb: must be at least 1", "line 1: resources.disk_mb: must be at most 8796093022207",
		},
		"resources: {disk_overcommit_factor: 0}":        {"line 1: resources.disk_overcommit_factor: must be more than 0"},
		"bind_mounts: [{dst_path: a, mode: rwx}]":       {"line 1: bind_mounts[0].src_path: is required", "line 1: bind_mounts[0].dst_path: must be an absolute path", "line 1: bind_mounts[0].mode: must be one of ro, rw"},
		"instance: {nproc_limit: -1}":                   {"line 1: instance.nproc_limit: must be at least 0"},
		"instance: {min_cpu_share_limit: 300}":          {"line 1: instance.min_cpu_share_limit: must not be more than max_cpu_share_limit, which is 256 when absent"},
		"instance: {max_cpu_share_limit: 0}":            {"line 1: instance.max_cpu_share_limit: must be at least 1"},
		"instance: {bandwidth_limit: {rate: 5}}":        {"line 1: instance.bandwidth_limit.burst: is required when rate is given"},
		"staging: {bandwidth_limit: {}}":                {"line 1: staging.bandwidth_limit.rate: is required when bandwidth_limit is given", "line 1: staging.bandwidth_limit.burst: is required when bandwidth_limit is given"},
		"loggregator: {router: h}":                      {"line 1: loggregator.router: must have the form host:port"},
		"deakit: {host: h}":                             {"line 1: deakit.host: must be an IP address"},
		"deakit: {heartbeat_transport: udp}":            {"line 1: deakit.heartbeat_transport: must be one of nats, http, both"},
		"deakit: {heartbeat_transport: both}":           {"line 1: deakit.heartbeat_transport: needs hm9000, which says where to send heartbeats"},
		"deakit: {log_format: xml}":                     {"line 1: deakit.log_format: must be one of steno, json, text"},
		"deakit: {syslog_address: 'tcp://secret'}":      {"line 1: deakit.syslog_address: must have the form udp://host:port or unixgram:///path"},
		"deakit: {log_emitters: {syslog: 'udp://h:1'}}": {"line 1: deakit.log_emitters.syslog: must have the form syslog://host:port, syslog-tls://host:port or syslog-udp://host:port"},
		"status: {port: 2}":                             {"line 1: status.port: must not be the same as directory_server.file_api_port"},
		"deakit: {log_emitters: {nats: 'logs.*'}}":      {"line 1: deakit.log_emitters.nats: must be a NATS subject without wildcards and blanks"},
		"deakit: {legacy_subjects: [dea.advertise]}":    {"line 1: deakit.legacy_subjects[0]: must be one of dea.discover, droplet.status"},
		"deakit: {runtimes: {strict: 1, catalog: x}}":   {"line 1: deakit.runtimes.strict: must be true or false"},
		"hm9000: {listener_uri: x}": {
			"line 1: hm9000.listener_uri: must have the form http://[user:password@]host[:port][/path], or https://…",
			"line 1: hm9000.key_file: is required when hm9000 is given", "line 1: hm9000.cert_file: is required when hm9000 is given",
			"line 1: hm9000.ca_file: is required when hm9000 is given",
		},
	} {
		t.Run(more, func(t *testing.T) {
			_, problems, _ := load(t, more)
			assert.Equal(t, want, problems)
		})
	}
}

func TestRefusedAsAWhole(t *testing.T) {
	for text, want := range map[string]string{
		"- a":                                  "Validation config failed with error: line 1: must be a hash of keys, not a list",
		"a: b: nats://secret":                  "Failed loading config: yaml: mapping values are not allowed in this context",
		"password: *secret":                    "Failed loading config: yaml: unknown anchor (…) referenced",
		"\x00":                                 "Failed loading config: yaml: control characters are not allowed",
		strings.Repeat("#", config.MaxBytes+1): "Failed loading config: it has more than 1048576 bytes",
	} {
		_, _, err := config.Parse([]byte(text))
		require.EqualError(t, err, want)
	}
	_, _, err := config.Load(filepath.Join(t.TempDir(), "absent.yml"))
	var unread *config.LoadError
	require.ErrorAs(t, err, &unread)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Regexp(t, `^Failed loading config: .*/absent.yml: no such file or directory$`, err.Error())
	_, _, err = config.Load(t.TempDir())
	require.ErrorAs(t, err, &unread)
}

func TestRouterRegisterInterval(t *testing.T) {
	for _, value := range []string{"0", "-1", "0.0", "-0.5"} {
		_, problems, _ := load(t, "intervals: {router_register_in_seconds: "+value+"}")
		assert.Equal(t, []string{"line 1: intervals.router_register_in_seconds: Invalid router register interval: must be more than 0 seconds"}, problems)
	}
	for value, want := range map[string]time.Duration{"7": 7 * time.Second, "0.25": 250 * time.Millisecond} {
		c, problems, _ := load(t, "intervals: {router_register_in_seconds: "+value+"}")
		require.Empty(t, problems)
		assert.Equal(t, want, c.Intervals.RouterRegister)
	}
}

func TestCertificateFilesMustExist(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "there"), nil, 0o600))
	more := fmt.Sprintf(`hm9000: {listener_uri: 'https://h', key_file: %[1]s/a, cert_file: %[1]s/there, ca_file: %[1]s/b}
ssl: {port: 7, key_file: %[1]s/there, cert_file: %[1]s/there, ca_file: %[1]s}
`, dir)
	_, problems, _ := load(t, more)
	assert.Equal(t, []string{
		fmt.Sprintf("line 1: hm9000: Invalid HM9000 Certs: One or more files not found: %[1]s/a, %[1]s/b", dir),
		fmt.Sprintf("line 2: ssl: Invalid SSL Certs: One or more files not found: %s", dir),
	}, problems)
}

func TestLinesAndFileOfProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.yml")
	require.NoError(t, os.WriteFile(path, []byte(least+`
instance:
  bandwidth_limit:
    rate: 1000
nats_servers:
  - nats://h
  - user:secret@h
`), 0o600))
	_, warnings, err := config.Load(path)
	var invalid *config.InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.Equal(t, []config.Problem{
		{File: path, Line: 11, Key: "instance.bandwidth_limit.burst", Text: "is required when rate is given"},
		{File: path, Line: 15, Key: "nats_servers[1]", Text: "must have the form nats://[user:password@]host:port"},
	}, invalid.Problems)
	assert.Equal(t, []string{
		path + ":10: instance: lacks memory_to_cpu_share_ratio, max_cpu_share_limit, min_cpu_share_limit, disk_inode_limit: " +
			"their defaults apply, but dea_ng demands all once instance is given",
		path + ":13: nats_servers: was given in line 4 already; this one counts",
	}, texts(warnings))
}

func TestWarnings(t *testing.T) {
	for more, want := range map[string][]string{
		"intervalls: {heartbeat: 1}":          {"line 1: intervalls: is an unknown key; did you mean intervals?"},
		"intervals: {hartbeat: 1}":            {"line 1: intervals.hartbeat: is an unknown key; did you mean intervals.heartbeat?"},
		"intervals: {haertbeat: 1}":           {"line 1: intervals.haertbeat: is an unknown key; did you mean intervals.heartbeat?"},
		"memory_mb: 1":                        {"line 1: memory_mb: is an unknown key; did you mean resources.memory_mb?"},
		"something_else: {a: b}":              {"line 1: something_else: is an unknown key"},
		"nats://u:secret@h: x":                {"line 1: has an entry that is left out: a key has at most 64 letters, digits, '_', '-' and '.'"},
		"[a]: x":                              {"line 1: has an entry that is left out: a key has at most 64 letters, digits, '_', '-' and '.'"},
		"domain:":                             {"domain: is not given: files of instances cannot be reached by URL"},
		"nats_uri: nats://old":                {"line 1: nats_uri: is ignored: it is the older name of nats_servers, which is given too"},
		"local_route: 10.0.0.1":               {"line 1: local_route: is ignored: it was used until July 2013; deakit.host sets the address"},
		"resources: {max_instances: many}":    {"line 1: resources.max_instances: is ignored: it was used in March 2014; memory and disk alone limit the number of instances"},
		"bind_mounts: [{src_path: /a, x: 1}]": {"line 1: bind_mounts[0].x: is an unknown key"},
	} {
		c, problems, warnings := load(t, more)
		assert.Empty(t, problems)
		assert.Equal(t, want, warnings, more)
		if c != nil {
			assert.Equal(t, []string{"nats://h:4222"}, c.NATSURLs())
		}
	}
}

func TestAliasesAndMergedHashes(t *testing.T) {
	c, problems, warnings := load(t, `defaults: &d {memory_limit_mb: 100, disk_limit_mb: 200}
staging: {<<: *d, disk_limit_mb: 300, bandwidth_limit: &b {rate: 1, burst: 2}}
instance: {<<: [{nproc_limit: 7}, {nproc_limit: 8, disk_inode_limit: 9}], bandwidth_limit: *b, max_cpu_share_limit: 3, min_cpu_share_limit: 1, memory_to_cpu_share_ratio: 1}
`)
	require.Empty(t, problems)
	assert.Equal(t, []string{"line 1: defaults: is an unknown key"}, warnings)
	assert.EqualValues(t, 100, c.Staging.MemoryLimitMB)
	assert.EqualValues(t, 300, c.Staging.DiskLimitMB)
	assert.EqualValues(t, 7, c.Instance.NProcLimit)
	assert.EqualValues(t, 9, c.Instance.DiskInodeLimit)
	assert.Equal(t, config.Bandwidth{Rate: 1, Burst: 2}, *c.Instance.BandwidthLimit)
}

// Small files that become large, or endless, when aliases are followed.
func TestHostileFiles(t *testing.T) {
	bomb := "a: &a0 {k: v}\n"
	for i := range 9 {
		bomb += fmt.Sprintf("a%d: &a%d {<<: [%s]}\n", i, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 100), ","))
	}
	for name, text := range map[string]string{
		"merged hash in itself": "staging: &s {<<: *s}",
		"merged list in itself": "staging: {<<: &s [*s, *s]}",
		"list in itself":        "nats_servers: &n [*n]",
		"merge of no hash":      "staging: {<<: 1}",
		"bomb":                  bomb + "staging: {<<: *a9}",
		"many entries":          "legacy: &l " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\nnats_servers: [" + strings.Repeat("x,", 300_000) + "]",
		"deep":                  "nats_servers: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := config.Parse([]byte(text))
			require.Error(t, err)
			assert.Less(t, len(err.Error()), 20_000)
		})
	}
}

func TestCPUShares(t *testing.T) {
	for more, want := range map[string][]int64{
		"":                                {1, 1, 8, 256},
		"instance: {cpu_share_factor: 2}": {1, 2, 32, 256},
		"instance: {memory_to_cpu_share_ratio: 4, min_cpu_share_limit: 3, max_cpu_share_limit: 100}": {3, 3, 16, 100},
		"instance: {cpu_limit_shares: 77}":                               {77, 77, 77, 77},
		"instance: {cpu_limit_shares: 77, memory_to_cpu_share_ratio: 8}": {1, 1, 8, 256},
		"instance: {cpu_limit_shares: 77, cpu_share_factor: 8}":          {1, 1, 8, 256},
	} {
		c, problems, _ := load(t, more)
		require.Empty(t, problems)
		for i, mb := range []int64{0, 4, 64, 4096} {
			assert.Equal(t, want[i], c.CPUShares(mb), "%s: %d MB", more, mb)
		}
	}
}

func TestHeartbeatsBy(t *testing.T) {
	hm := "hm9000: {listener_uri: 'https://h', key_file: testdata/certs/dea.key, cert_file: testdata/certs/dea.crt, ca_file: testdata/certs/ca.crt}\n"
	for more, want := range map[string][2]bool{
		"": {true, false}, hm: {false, true},
		hm + "deakit: {heartbeat_transport: nats}": {true, false},
		hm + "deakit: {heartbeat_transport: http}": {false, true},
		hm + "deakit: {heartbeat_transport: both}": {true, true},
	} {
		c, problems, _ := load(t, more)
		require.Empty(t, problems)
		nats, http := c.HeartbeatsBy()
		assert.Equal(t, want, [2]bool{nats, http}, more)
	}
}

func TestLooseTypesWhereDeaNgChecksNone(t *testing.T) {
	c, problems, _ := load(t, "loggregator: {router: 'h:1', shared_secret: 12345}\ndea_ruby: 1.9\nstaging: {enabled: off, environment: {A: 1, B: true, C: 0x10, D: }}")
	require.Empty(t, problems)
	assert.Equal(t, "12345", string(c.Loggregator.SharedSecret))
	assert.Equal(t, "1.9", c.DEARuby)
	assert.False(t, c.Staging.Enabled)
	assert.Equal(t, []string{"A=1", "B=true", "C=0x10", "D="}, c.Staging.Variables())
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{"testdata/e14.yml", "testdata/head.yml", sample} {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(least))
	f.Add([]byte(least + "staging: &s {<<: [*s, *s]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := config.Parse(text)
		if err != nil {
			var unread *config.LoadError
			var invalid *config.InvalidError
			require.True(t, errors.As(err, &unread) || errors.As(err, &invalid))
			require.NotEmpty(t, err.Error())
			return
		}
		for name, d := range map[string]time.Duration{
			"heartbeat": c.Intervals.Heartbeat, "advertise": c.Intervals.Advertise, "register": c.Intervals.RouterRegister,
			"crash": c.CrashLifetime, "evacuation": c.EvacuationBailOut, "staging": c.Staging.MaxStagingDuration,
		} {
			require.Positive(t, d, name)
		}
		require.Positive(t, c.CPUShares(1<<40))
		require.Positive(t, c.CPUShares(0))
		require.GreaterOrEqual(t, c.Capacity().MemoryBytes, int64(0))
		require.NotEmpty(t, c.NATSURLs())
		require.NotEmpty(t, c.StackNames())
		_, _ = c.HeartbeatsBy()
		_, _, _, _ = c.Mounts(), c.Log(), c.Staging.Variables(), c.AdvertisedURL()
		require.NotContains(t, c.String(), "\x00")
	})
}
