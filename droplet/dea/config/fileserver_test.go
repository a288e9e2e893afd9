package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/logging"
)

// A directory server reads the files of all times as they are.
func TestFileServerReadsFilesOfDEAs(t *testing.T) {
	for file, want := range map[string]logging.Config{
		"testdata/e14.yml":  {Level: "info", Format: "steno"},
		"testdata/head.yml": {Level: "warn", Format: "steno"},
		sample:              {Level: "info", Format: "steno"},
	} {
		f, warnings, err := config.LoadFileServer(file)
		require.NoError(t, err, file)
		c, _, err := config.Load(file)
		require.NoError(t, err, file)
		assert.Equal(t, c.DirectoryServer.V2Port, f.DirectoryServer.V2Port, file)
		assert.Equal(t, c.DirectoryServer.FileAPIPort, f.DirectoryServer.FileAPIPort, file)
		assert.Equal(t, c.DirectoryServer.StreamingTimeout, f.DirectoryServer.StreamingTimeout, file)
		assert.Equal(t, c.Index, f.Index, file)
		assert.Equal(t, want, f.Log(), file)
		for _, w := range warnings {
			assert.Contains(t, w.Key, "directory_server.", "others are for the DEA to tell")
		}
	}
}

// What is wrong with keys of the DEA is the business of the DEA.
func TestFileServerNeedsLittle(t *testing.T) {
	f, warnings, err := config.ParseFileServer([]byte(`directory_server: {v2_port: 1, file_api_port: 2, streaming_timeout: 0, v3_port: x}
nats_servers: 17
resources: {memory_mb: much}
ssl: {port: 1}
an_unknown_key: {x: [1]}
logging: {level: debug, file: /of/the/dea, syslog: vcap.dea}
deakit: {host: 10.0.0.1, log_format: json, syslog_address: 'udp://h:514', legacy_subjects: no such thing}
`))
	require.NoError(t, err)
	assert.Equal(t, []string{"line 1: directory_server.v3_port: is an unknown key; did you mean directory_server.v2_port?"}, texts(warnings))
	assert.EqualValues(t, 1, f.DirectoryServer.V2Port)
	assert.Zero(t, f.DirectoryServer.StreamingTimeout)
	assert.Equal(t, "10.0.0.1", f.Deakit.Host)
	assert.Equal(t, logging.Config{Level: "debug", Format: "json", SyslogAddress: "udp://h:514"}, f.Log(), "two processes in one file would be in each other's way")

	f, _, err = config.ParseFileServer([]byte("directory_server: {v2_port: 1, file_api_port: 2, logging: {level: warn, file: /f, syslog: s}}\n" +
		"logging: {level: debug}\nstatus: {user: u, password: p}\ndeakit: {directory_status_port: 3}"))
	require.NoError(t, err)
	assert.Equal(t, time.Minute, f.DirectoryServer.StreamingTimeout)
	assert.Equal(t, logging.Config{Level: "warn", Format: "steno", File: "/f", Syslog: "s"}, f.Log())
	assert.EqualValues(t, 3, f.Deakit.DirectoryStatusPort)
	assert.Equal(t, "p", string(f.Status.Password))
}

// A key that is written wrong is told, and one of the DEA alone is not; also where the file cannot be used.
func TestFileServerWarns(t *testing.T) {
	f, warnings, err := config.ParseFileServer([]byte(`directory_server: {v2_port: 1, file_api_port: 2}
deakit: {garden_socket: /s, directory_cahce: 1, file_urls: {host_label: a, lifetme: 7, lifetime: 0, keys: [x]}, log_emitters: {nats: a}}
status: {port: 3, usr: x}
directroy: 1
---
directory_server: {v2_port: 5}
`))
	require.NoError(t, err)
	assert.EqualValues(t, 1, f.DirectoryServer.V2Port)
	want := []string{
		"line 2: deakit.directory_cahce: is an unknown key; did you mean deakit.directory_cache?",
		"line 2: deakit.file_urls.lifetme: is an unknown key; did you mean deakit.file_urls.lifetime?",
		"line 2: deakit.file_urls.lifetime: is 0, which stands for 3600 seconds",
		"line 3: status.usr: is an unknown key; did you mean status.user?",
		"line 5: a second YAML document begins here, which is ignored",
	}
	assert.ElementsMatch(t, want, texts(warnings))
	_, warnings, err = config.ParseFileServer([]byte("directory_server: {v2_port: -1, v3_port: 3}"))
	assert.Error(t, err)
	assert.Len(t, warnings, 1)
	_, warnings, err = config.ParseFileServer([]byte("directory_server: {v2_port: 1, file_api_port: 3}\n---\n"))
	require.NoError(t, err)
	assert.Empty(t, warnings, "nothing comes after the line")
}

func TestFileServerRefuses(t *testing.T) {
	const ports = "directory_server: {v2_port: 1, file_api_port: 2}\n"
	for text, want := range map[string]string{
		"":                       "errors: 2\n  directory_server.v2_port: is required\n  directory_server.file_api_port: is required",
		"directory_server: 5678": "error: line 1: directory_server: must be a hash of keys, not a single value",
		"directory_server: {v2_port: 70000, file_api_port: x}": "errors: 2\n  line 1: directory_server.v2_port: must be a port number from 1 to 65535\n" +
			"  line 1: directory_server.file_api_port: must be a port number from 1 to 65535",
		"\n\ndirectory_server: {v2_port: 7, file_api_port: 7}":                                "error: line 3: directory_server.file_api_port: must not be the same as directory_server.v2_port",
		"directory_server: {v2_port: 1, file_api_port: 2, logging: {}}":                       "error: line 1: directory_server.logging.level: is required",
		"directory_server: {v2_port: 1, file_api_port: 2, streaming_timeout: s}":              "error: line 1: directory_server.streaming_timeout: must be a whole number of seconds",
		ports + "deakit: {directory_cache: true}":                                             "error: line 2: deakit.directory_cache: must be a number of seconds from 0 to 1",
		ports + "deakit: {directory_cache: 1.5}":                                              "error: line 2: deakit.directory_cache: must be a number of seconds from 0 to 1",
		ports + "status: {port: 7, user: u, password: p}\ndeakit: {directory_status_port: 7}": "error: line 3: deakit.directory_status_port: must not be the same as status.port",
		ports + "logging: {level: loud}":                                                      "error: line 2: logging.level: must be one of off, fatal, error, warn, info, debug, debug1, debug2, all",
		ports + "deakit: {host: nowhere}":                                                     "error: line 2: deakit.host: must be an IP address",
		ports + "deakit: {directory_status_port: 2}": "errors: 2\n  line 2: deakit.directory_status_port: must not be the same as directory_server.file_api_port\n" +
			"  line 2: deakit.directory_status_port: needs status.user and status.password, without which nobody gets in",
	} {
		_, _, err := config.ParseFileServer([]byte(text))
		var invalid *config.InvalidError
		require.ErrorAs(t, err, &invalid, text)
		assert.Equal(t, "Validation config failed with "+want, err.Error(), text)
	}
	for text, want := range map[string]string{
		"a: [": "did not find expected node content",
		"*no":  "unknown anchor",
	} {
		file := filepath.Join(t.TempDir(), "c.yml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, _, err := config.LoadFileServer(file)
		var unreadable *config.LoadError
		require.ErrorAs(t, err, &unreadable)
		assert.ErrorContains(t, err, file)
		assert.ErrorContains(t, err, want)
	}
	_, _, err := config.LoadFileServer("/no/such/file")
	assert.EqualError(t, err, "Failed loading config: /no/such/file: no such file or directory")
}
