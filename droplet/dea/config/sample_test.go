package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/logging"
)

const sample = "../../../examples/dea/dea.yml"

func texts(warnings []config.Warning) []string {
	var all []string
	for _, w := range warnings {
		all = append(all, w.String())
	}
	return all
}

func TestSampleOfEarly2014(t *testing.T) {
	c, warnings, err := config.Load("testdata/e14.yml")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"testdata/e14.yml:16: nats_uri: is the older name of nats_servers",
		"testdata/e14.yml:20: evacuation_delay_secs: is ignored: it was used until December 2013; evacuation_bail_out_time_in_seconds counts now",
		"testdata/e14.yml:21: maximum_health_check_timeout: is the older name of default_health_check_timeout",
		"testdata/e14.yml:49: directory_server.v1_port: is ignored: it was used until December 2013; there is no such server any more",
		"testdata/e14.yml:61: instance.cpu_share_factor: is the older name of instance.memory_to_cpu_share_ratio",
	}, texts(warnings))

	want := config.Default()
	want.BaseDir = "/var/vcap/data/dea_next"
	want.Logging = config.Logging{Level: "debug", File: "/var/vcap/sys/log/dea_next/dea_next.log", Syslog: "vcap.dea_next"}
	want.NATSServers = []config.URL{"nats://nats:e14-secret@10.0.0.5:4222"}
	want.PIDFilename = "/var/vcap/sys/run/dea_next/dea_next.pid"
	want.WardenSocket = "/tmp/warden.sock"
	want.Domain = "apps.example.com"
	want.DirectoryServer = config.DirectoryServer{
		Protocol: "https", V2Port: 5678, FileAPIPort: 1234, StreamingTimeout: 10 * time.Second, Logging: &config.Logging{Level: "info"},
	}
	want.Stacks = []config.Stack{{Name: "lucid64"}, {Name: "cflinuxfs2"}}
	want.CrashLifetime = 1800 * time.Second
	want.CrashBlockThreshold = 1
	want.HealthCheckTimeout = 180 * time.Second
	want.Status = config.Status{User: "varz", Password: "e14-password", Port: 34501}
	want.Intervals.Heartbeat, want.Intervals.Advertise = 7*time.Second, 3*time.Second
	want.Resources = config.Resources{MemoryMB: 4096, DiskMB: 32768, MemoryOvercommitFactor: 1.5, DiskOvercommitFactor: 2}
	want.BindMounts = []config.BindMount{{
		SrcPath: "/var/vcap/packages/buildpack_cache", DstPath: "/var/vcap/packages/buildpack_cache",
	}}
	want.Hooks = config.Hooks{BeforeStart: "/opt/hooks/before_start", AfterStop: "/opt/hooks/after_stop"}
	want.Instance.MemoryToCPUShareRatio, want.Instance.MinCPUShareLimit, want.Instance.MaxCPUShareLimit = 4, 2, 512
	want.Instance.DiskInodeLimit = 100_000
	want.Staging.Enabled, want.Staging.MaxStagingDuration = true, 600*time.Second
	want.Staging.Environment = map[string]config.Secret{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "BUILDPACK_CACHE": "/var/vcap/packages/buildpack_cache", "RETRIES": "3",
	}
	want.DEARuby = "/var/vcap/packages/ruby/bin/ruby"
	want.Loggregator = &config.Loggregator{Router: "10.0.0.6:3456", SharedSecret: "e14-shared"}
	assert.True(t, reflect.DeepEqual(want, *c), "%v\n\nis not\n\n%v", *c, want) // assert.Equal would see hidden text only

	assert.Equal(t, []string{"nats://nats:e14-secret@10.0.0.5:4222"}, c.NATSURLs())
	assert.Equal(t, []string{"lucid64", "cflinuxfs2"}, c.StackNames())
	first, err := c.RootFS("")
	require.NoError(t, err, "a message without a stack")
	root, err := c.RootFS("cflinuxfs2")
	require.NoError(t, err)
	assert.Equal(t, root, first)
	assert.Empty(t, root)
	assert.Equal(t, resources.Capacity{MemoryBytes: 6144 << 20, DiskBytes: 65536 << 20}, c.Capacity())
	assert.Equal(t, []string{"BUILDPACK_CACHE=/var/vcap/packages/buildpack_cache", "PATH=/usr/local/bin:/usr/bin:/bin", "RETRIES=3"}, c.Staging.Variables())
	assert.Empty(t, c.AdvertisedURL())
	nats, http := c.HeartbeatsBy()
	assert.True(t, nats)
	assert.False(t, http)
	assert.Equal(t, logging.Config{
		Level: "debug", Format: "steno", File: "/var/vcap/sys/log/dea_next/dea_next.log", Syslog: "vcap.dea_next",
	}, c.Log())
}

func TestSampleOf2017(t *testing.T) {
	c, warnings, err := config.Load("testdata/head.yml")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"testdata/head.yml:63: use_http: is ignored: it was used in March 2016; hm9000 and deakit.heartbeat_transport say the same",
	}, texts(warnings))

	assert.Equal(t, 3, c.Index)
	assert.Equal(t, "https://internal:head-secret@cc.internal:9023", string(c.CCURL))
	assert.Len(t, c.NATSURLs(), 2)
	root, err := c.RootFS("lucid64")
	require.NoError(t, err)
	assert.Equal(t, "/var/vcap/packages/rootfs_lucid64", root)
	_, err = c.RootFS("cflinuxfs3")
	require.EqualError(t, err, "Stack cflinuxfs3 does not exist")
	assert.Equal(t, "z2", c.PlacementProperties.Zone)
	assert.Equal(t, "testdata/certs/ca.crt", c.HM9000.CAFile)
	assert.Equal(t, "https://3.dea.internal:22443", c.AdvertisedURL())
	assert.Equal(t, 900*time.Second, c.EvacuationBailOut)
	assert.Equal(t, 12500*time.Millisecond, c.Intervals.RouterRegister)
	assert.Equal(t, 10*time.Second, c.Intervals.Heartbeat)
	assert.Equal(t, &container.Bandwidth{BytesPerSecond: 10_000_000, BurstBytes: 20_000_000}, c.Instance.BandwidthLimit.Limit())
	assert.Equal(t, &container.Bandwidth{BytesPerSecond: 5_000_000, BurstBytes: 5_000_000}, c.Staging.BandwidthLimit.Limit())
	assert.Equal(t, []container.BindMount{
		{Src: "/var/vcap/data/shared", Writable: true}, {Src: "/etc/ssl/certs", Dst: "/etc/ssl/host"},
	}, c.Mounts())
	assert.EqualValues(t, 1024, c.Instance.NProcLimit)
	assert.EqualValues(t, 2048, c.Staging.MemoryLimitMB)
	assert.EqualValues(t, 512, c.Staging.CPULimitShares, "merged deeply")
	nats, http := c.HeartbeatsBy()
	assert.False(t, nats)
	assert.True(t, http)
}

func TestDocumentedSample(t *testing.T) {
	c, warnings, err := config.Load(sample)
	require.NoError(t, err)
	assert.Empty(t, texts(warnings))
	assert.Equal(t, []string{"nats://127.0.0.1:4222"}, c.NATSURLs())
	assert.Equal(t, "info", c.Logging.Level)
}

var optional = regexp.MustCompile(`(?m)^( *)#((?:  )*(?:[a-z_A-Z0-9]+:|- ))`)

// What the sample says of optional keys is right too: all of it loads, and it has every key.
func TestDocumentedSampleWithAllThatIsOptional(t *testing.T) {
	text, err := os.ReadFile(sample)
	require.NoError(t, err)
	everything := optional.ReplaceAllString(string(text), "$1$2")
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("certs", 0o755))
	for _, name := range []string{"hm9000.key", "hm9000.crt", "hm9000-ca.crt", "dea.key", "dea.crt", "cc-ca.crt"} {
		require.NoError(t, os.WriteFile(filepath.Join("certs", name), nil, 0o600))
	}
	writeKey(t, "certs/file-urls.key", "certs/file-urls-before.pub")
	c, warnings, err := config.Parse([]byte(everything))
	require.NoError(t, err, everything)
	assert.Empty(t, texts(warnings))
	assert.Equal(t, []string{"dea.discover", "droplet.status"}, c.Deakit.LegacySubjects)
	withoutZero(t, "", reflect.ValueOf(*c))
}

// withoutZero fails for fields that the sample leaves out.
func withoutZero(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if assert.False(t, v.IsNil(), path) {
			withoutZero(t, path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			withoutZero(t, path+"."+v.Type().Field(i).Tag.Get("yaml"), v.Field(i))
		}
	default:
		allowed := []string{".index", ".deakit.quiet_evacuation", ".instance.cpu_limit_shares"} // and not in 2017
		assert.True(t, !v.IsZero() || slices.Contains(allowed, path), path)
	}
}
