package hosts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/hosts"
)

const defaults = `127.0.0.1 agent-1 localhost

# The following lines are desirable for IPv6 capable hosts
::1 agent-1 localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
ff02::3 ip6-allhosts
`

// A machine has the files of a Syncer.
type machine struct {
	*hosts.Syncer
	t                 *testing.T
	hostsFile, record string
	fetched           int
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	base := t.TempDir()
	m := &machine{t: t, hostsFile: filepath.Join(base, "etc_hosts"), record: filepath.Join(base, "instance/dns/records.json")}
	var err error
	m.Syncer, err = hosts.New(hosts.Config{Base: base, HostsFile: m.hostsFile, Hostname: "agent-1", Group: os.Getegid()})
	require.NoError(t, err)
	return m
}

func (m *machine) sync(version uint64, blob string) error {
	return m.Sync(m.t.Context(), version, func(context.Context) (io.ReadCloser, error) {
		m.fetched++
		return io.NopCloser(strings.NewReader(blob)), nil
	})
}

func (m *machine) has(hostsText, records string) {
	m.t.Helper()
	for name, want := range map[string]string{m.hostsFile: hostsText, m.record: records} {
		have, err := os.ReadFile(name)
		if want == "" {
			require.ErrorIs(m.t, err, os.ErrNotExist)
			continue
		}
		require.NoError(m.t, err)
		assert.Equal(m.t, want, string(have))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(m.record), ".*"))
	require.NoError(m.t, err)
	assert.Empty(m.t, left, "no temporary files")
}

const (
	seven = `{"version":7, "records":[["10.0.0.21","6f1c.router.default.cf.bosh"],["fd00::1","x.bosh"]],"record_keys":["id"],"record_infos":[[1]]}`
	nine  = `{"version":9,"records":[]}`
)

func TestSync(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.WriteDefaults())
	m.has(defaults, "")
	require.NoError(t, m.sync(7, seven))
	m.has(defaults+"10.0.0.21 6f1c.router.default.cf.bosh\nfd00::1 x.bosh\n", seven)
	info, err := os.Stat(m.record)
	require.NoError(t, err)
	assert.EqualValues(t, 0o640, info.Mode())
	for _, version := range []uint64{7, 6, 0} {
		require.NoError(t, m.sync(version, "not looked at"))
	}
	assert.Equal(t, 1, m.fetched)
	require.NoError(t, m.sync(9, nine))
	m.has(defaults, nine)

	// What is there and cannot be read is replaced.
	require.NoError(t, os.WriteFile(m.record, []byte("{"), 0o600))
	require.NoError(t, m.sync(7, seven))
	require.NoError(t, os.WriteFile(m.record, []byte("{}"), 0o600))
	require.NoError(t, m.sync(7, seven))
	assert.Equal(t, 4, m.fetched)
}

// What is refused changes nothing.
func TestSyncRefuses(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.sync(7, seven))
	text := defaults + "10.0.0.21 6f1c.router.default.cf.bosh\nfd00::1 x.bosh\n"
	for blob, want := range map[string]error{
		nine:             hosts.ErrVersion,
		`{"records":[]}`: hosts.ErrVersion,
		`null`:           hosts.ErrVersion,
		``:               hosts.ErrRecords,
		`[]`:             hosts.ErrRecords,
		`{"version":-1}`: hosts.ErrRecords,
		`{"version":8,"records":[["10.0.0.1","a\n6.6.6.6 bank.example.com"]]}`:  hosts.ErrRecords,
		`{"version":8,"records":[["10.0.0.1 evil","a"]]}`:                       hosts.ErrRecords,
		`{"version":8,"records":[["fe80::1%x\n6.6.6.6 bank.example.com","a"]]}`: hosts.ErrRecords,
		`{"version":8,"records":[["fe80::1%x #","a"]]}`:                         hosts.ErrRecords,
		`{"version":8,"records":[["10.0.0.1",""]]}`:                             hosts.ErrRecords,
		`{"version":8,"records":[["","a"]]}`:                                    hosts.ErrRecords,
		`{"version":8,"records":[["10.0.0.1"]]}`:                                hosts.ErrRecords,
		`{"version":8,"records":["10.0.0.1"]}`:                                  hosts.ErrRecords,
	} {
		require.ErrorIs(t, m.sync(8, blob), want, blob)
		m.has(text, seven)
	}
	require.ErrorContains(t, m.sync(8, nine), "version from unpacked dns blob does not match version supplied by director")
	gone := errors.New("no such blob")
	require.ErrorIs(t, m.Sync(t.Context(), 8, func(context.Context) (io.ReadCloser, error) { return nil, gone }), gone)
	broken := func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		w.CloseWithError(gone)
		return r, nil
	}
	require.ErrorIs(t, m.Sync(t.Context(), 8, broken), gone)
	m.has(text, seven)

	for _, bad := range []hosts.Config{{}, {Base: "/x"}, {Base: "/x", Hostname: "a b"}} {
		_, err := hosts.New(bad)
		require.Error(t, err)
	}
}

// Of several at once, the latest version stays, and readers see whole files all the time.
func TestSyncAtOnce(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.sync(1, `{"version":1,"records":[]}`))
	var work, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			data, err := os.ReadFile(m.hostsFile)
			if !assert.NoError(t, err) || !assert.True(t, bytes.HasPrefix(data, []byte(defaults))) {
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for version := uint64(2); version < 30; version++ {
		work.Go(func() {
			assert.NoError(t, m.Sync(t.Context(), version, func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(fmt.Sprintf(`{"version":%d,"records":[["10.0.0.1","v%[1]d"]]}`, version))), nil
			}))
		})
	}
	work.Wait()
	close(done)
	readers.Wait()
	m.has(defaults+"10.0.0.1 v29\n", `{"version":29,"records":[["10.0.0.1","v29"]]}`)
}
