package settings_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
)

// aws is the configuration of a stemcell.
const aws = `{"Platform":{"Linux":{"CreatePartitionIfNoEphemeralDisk":true,"DevicePathResolutionType":"virtio"}},
 "Infrastructure":{"Settings":{"Sources":[{"Type":"HTTP","URI":"http://169.254.169.254","UserDataPath":"/latest/user-data",
 "InstanceIDPath":"/latest/meta-data/instance-id","SSHKeysPath":"/latest/meta-data/public-keys/0/openssh-key"}]}}}`

func TestParseConfig(t *testing.T) {
	c, err := settings.ParseConfig([]byte(aws))
	require.NoError(t, err)
	assert.Equal(t, settings.Linux{CreatePartitionIfNoEphemeralDisk: true, DevicePathResolutionType: "virtio"}, c.Platform.Linux)
	assert.Equal(t, settings.SourceConfig{Type: "HTTP", URI: "http://169.254.169.254", UserDataPath: "/latest/user-data",
		InstanceIDPath: "/latest/meta-data/instance-id", SSHKeysPath: "/latest/meta-data/public-keys/0/openssh-key"},
		c.Infrastructure.Settings.Sources[0])

	// Keys in any case, and those of long ago.
	c, err = settings.ParseConfig([]byte(`{"platform":{"linux":{"usedefaulttmpdir":true}},
		"INFRASTRUCTURE":{"settings":{"useservername":true,"useregistry":true,"sources":[{"Type":"CDROM","filename":"env"}]}}}`))
	require.NoError(t, err)
	assert.True(t, c.Platform.Linux.UseDefaultTmpDir)
	assert.Equal(t, []settings.SourceConfig{{Type: "CDROM", FileName: "env", UseServerName: true}}, c.Infrastructure.Settings.Sources)

	for text, want := range map[string]string{
		`{`: "agent configuration",
		`{"Infrastructure":{"Settings":{"Sources":[{"URI":"x"}]}}}`:               "Missing source type",
		`{"Infrastructure":{"Settings":{"Sources":[{"type":"HTTP","URI":"x"}]}}}`: "Missing source type",
		`{"Infrastructure":{"Settings":{"Sources":[{"Type":7}]}}}`:                "string",
		`{"Infrastructure":{"Settings":{"Sources":[{"Type":"File","URI":7}]}}}`:   "URI",
		`{"Platform":{"Linux":{"SkipDiskSetup":"yes"}}}`:                          "SkipDiskSetup",
	} {
		_, err := settings.ParseConfig([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestNewSource(t *testing.T) {
	tools := settings.Tools{Mounter: &shelf{}, Delay: -1}
	for text, want := range map[string]string{
		aws: "",
		`{"Infrastructure":{"Settings":{"Sources":[{"Type":"InstanceMetadata"},{"Type":"ConfigDrive"},{"Type":"File"},
			{"Type":"CDROM"},{"Type":"VsphereGuestInfo"}]}}}`: "",
		`{}`: "at least one source",
		`{"Infrastructure":{"Settings":{"Sources":[{"Type":"Floppy"}]}}}`: "Unknown source type 'Floppy'",
	} {
		c, err := settings.ParseConfig([]byte(text))
		require.NoError(t, err)
		_, err = settings.NewSource(c, tools)
		if want != "" {
			require.ErrorContains(t, err, want)
			continue
		}
		require.NoError(t, err)
	}
	c, err := settings.ParseConfig([]byte(`{"Infrastructure":{"Settings":{"Sources":[{"Type":"CDROM"}]}}}`))
	require.NoError(t, err)
	_, err = settings.NewSource(c, settings.Tools{})
	require.ErrorContains(t, err, "needs a Mounter")
	_, err = settings.NewSource(&settings.Config{}, tools)
	require.ErrorIs(t, err, settings.ErrNoSources)
}

func TestInfrastructure(t *testing.T) {
	tools := settings.Tools{Mounter: &shelf{}}
	for _, name := range []string{"aws", "openstack", "vsphere", "vcloud"} {
		_, err := settings.Infrastructure(name, "/var/vcap", tools)
		require.NoError(t, err, name)
	}
	base := t.TempDir()
	source, err := settings.Infrastructure("dummy", base, tools)
	require.NoError(t, err)
	assert.Equal(t, settings.File{Path: filepath.Join(base, "bosh", "dummy-cpi-agent-env.json")}, source)
	_, err = settings.Infrastructure("azure", base, tools)
	require.EqualError(t, err, "infrastructure 'azure' not found")
	_, err = settings.Infrastructure("vsphere", base, settings.Tools{})
	require.ErrorContains(t, err, "needs a Mounter")

	// OpenStack's has a fallback, Amazon's asks for the id with a slash at its end.
	openstack, err := settings.Infrastructure("openstack", base, tools)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(base, "bosh", "user_data.json"), openstack.(settings.HTTP).InjectedFile)
	assert.True(t, openstack.(settings.HTTP).UseServerName)
	amazon, err := settings.Infrastructure("aws", base, tools)
	require.NoError(t, err)
	assert.Equal(t, "/latest/meta-data/instance-id/", amazon.(settings.HTTP).InstanceIDPath)
}
