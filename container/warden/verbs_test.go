package warden_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/needs"
)

func write(t testing.TB, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}

func TestCopyIn(t *testing.T) {
	p := start(t, warden.Config{})
	handle, dir := p.create(), t.TempDir()
	src := filepath.Join(dir, "src")
	write(t, src+"/bin/run", "run")
	require.NoError(t, os.Chmod(src+"/bin/run", 0o751))
	require.NoError(t, os.Symlink("bin/run", src+"/link"))
	require.NoError(t, os.Symlink("src", filepath.Join(dir, "alias")))
	copyIn := func(from, to string) {
		t.Helper()
		ask[*protocol.CopyInResponse](p, &protocol.CopyInRequest{Handle: handle, SrcPath: &from, DstPath: &to})
	}
	copyIn(src, "/home/vcap/whole")
	copyIn(src+"/", "/home/vcap/content")
	copyIn(dir+"/alias/", "/home/vcap/through")
	copyIn(dir+"/alias", "/home/vcap/as-link")
	copyIn(src+"/bin/.", "/home/vcap/dot")
	copyIn(src+"/bin/..", "/home/vcap/dots")
	copyIn(src+"/bin/run", "/home/vcap/renamed")
	copyIn(src+"/bin/run", "/home/vcap/new/")
	p.run(handle, "mkdir there; ln -s there linked")
	copyIn(src+"/bin/run", "/home/vcap/there")
	copyIn(src+"/link", "/home/vcap/linked")
	r := p.run(handle, "find whole content dot dots through as-link renamed new there -printf '%p %y %m %l\n' | sort")
	assert.Equal(t, `as-link l 777 src
content d 755 
content/bin d 755 
content/bin/run f 751 
content/link l 777 bin/run
dot d 755 
dot/run f 751 
dots d 755 
dots/bin d 755 
dots/bin/run f 751 
dots/link l 777 bin/run
new d 755 
new/run f 751 
renamed f 751 
there d 755 
there/link l 777 bin/run
there/run f 751 
through d 755 
through/bin d 755 
through/bin/run f 751 
through/link l 777 bin/run
whole d 755 
whole/src d 755 
whole/src/bin d 755 
whole/src/bin/run f 751 
whole/src/link l 777 bin/run
`, r.GetStdout())

	for _, paths := range [][2]string{{"/does/not/exist", "/tmp/x"}, {"/does/not/exist/", "/tmp/x"}, {"relative", "/tmp/x"}, {src, "relative"}} {
		p.refused(&protocol.CopyInRequest{Handle: handle, SrcPath: &paths[0], DstPath: &paths[1]})
	}
}

func TestCopyOut(t *testing.T) {
	p := start(t, warden.Config{})
	handle, dir := p.create(), t.TempDir()
	p.run(handle, "mkdir -p src/bin; echo run >src/bin/run; ln -s /etc/passwd src/link; echo x >file; chmod 640 file")
	copyOut := func(from, to string) {
		t.Helper()
		to = filepath.Join(dir, to) + map[bool]string{true: "/"}[to[len(to)-1] == '/']
		ask[*protocol.CopyOutResponse](p, &protocol.CopyOutRequest{Handle: handle, SrcPath: &from, DstPath: &to})
	}
	copyOut("/home/vcap/src", "whole")
	copyOut("/home/vcap/src/", "content")
	copyOut("/home/vcap/src/bin/.", "dot")
	copyOut("/home/vcap/file", "renamed")
	copyOut("/home/vcap/file", "made/")
	copyOut("/home/vcap/file", "made")
	for _, name := range []string{"whole/src/bin/run", "content/bin/run", "dot/run", "renamed", "made/file"} {
		assert.FileExists(t, filepath.Join(dir, name))
	}
	target, err := os.Readlink(filepath.Join(dir, "content/link"))
	require.NoError(t, err)
	assert.Equal(t, "/etc/passwd", target, "not followed")
	info, err := os.Stat(filepath.Join(dir, "renamed"))
	require.NoError(t, err)
	assert.EqualValues(t, 0o640, info.Mode().Perm())
	assert.Len(t, readDir(t, dir), 5, "no temporary files are left")

	for _, r := range []*protocol.CopyOutRequest{
		{SrcPath: proto.String("/home/vcap/missing"), DstPath: &dir},
		{SrcPath: proto.String("/home/vcap/file"), DstPath: proto.String(dir + "/no/such/dir/file")},
		{SrcPath: proto.String("/home/vcap/file"), DstPath: &dir, Owner: proto.String("no such user")},
		{SrcPath: proto.String("/home/vcap/file"), DstPath: proto.String("relative")},
		{SrcPath: proto.String("../../../../etc/passwd"), DstPath: &dir},
	} {
		r.Handle = handle
		p.refused(r)
	}
	assert.Len(t, readDir(t, dir), 5)
}

// TestCopyOutIsConfined lets a container lead a copy out of it, and into where it should not write.
func TestCopyOutIsConfined(t *testing.T) {
	p := start(t, warden.Config{})
	handle, dir, secret := p.create(), t.TempDir(), t.TempDir()
	write(t, secret+"/secret", "secret")
	p.run(handle, "ln -s "+secret+" out")
	for _, src := range []string{"/home/vcap/out/", "/home/vcap/out/secret", "/home/vcap/../../../../../../../../" + secret + "/secret"} {
		p.refused(&protocol.CopyOutRequest{Handle: handle, SrcPath: &src, DstPath: &dir})
	}
	assert.Empty(t, readDir(t, dir))
	p.run(handle, "mkdir d; echo overwritten >d/secret")
	require.NoError(t, os.Symlink(secret, dir+"/d"))
	p.send(&protocol.CopyOutRequest{Handle: handle, SrcPath: proto.String("/home/vcap/d"), DstPath: &dir})
	p.receive() // whether it replaces the link or refuses
	content, err := os.ReadFile(secret + "/secret")
	require.NoError(t, err)
	assert.Equal(t, "secret", string(content))
}

func TestCopyOutOwner(t *testing.T) {
	needs.Root(t)
	p := start(t, warden.Config{})
	handle, dir := p.create(), t.TempDir()
	p.run(handle, "mkdir d; echo x >d/f")
	for owner, want := range map[string][2]uint32{
		"12345": {12345, 0}, "12345:54321": {12345, 54321}, "nobody": {65534, 0}, "nobody:nogroup": {65534, 65534}, ":7": {0, 7},
	} {
		dst := filepath.Join(dir, owner)
		ask[*protocol.CopyOutResponse](p, &protocol.CopyOutRequest{
			Handle: handle, SrcPath: proto.String("/home/vcap/d/"), DstPath: &dst, Owner: &owner,
		})
		for _, name := range []string{dst, dst + "/f"} {
			uid, gid := ownerOf(t, name)
			assert.Equal(t, want, [2]uint32{uid, gid}, "%s: %s", owner, name)
		}
	}
	uid, _ := ownerOf(t, dir)
	assert.Zero(t, uid, "what was there keeps its owner")
}

// The ports are ones that nobody draws: neither the pools of other tests nor the kernel.
func TestNetIn(t *testing.T) {
	b := processes(t, process.Options{Ports: process.PortRange{First: 21100, Last: 21101}})
	p := start(t, warden.Config{Backend: b})
	handle := p.create()
	first := ask[*protocol.NetInResponse](p, &protocol.NetInRequest{Handle: handle})
	assert.Equal(t, first.GetHostPort(), first.GetContainerPort())
	second := ask[*protocol.NetInResponse](p, &protocol.NetInRequest{Handle: handle})
	assert.NotEqual(t, first.GetHostPort(), second.GetHostPort())
	assert.Equal(t, "no port available", p.refused(&protocol.NetInRequest{Handle: handle}))
	given := ask[*protocol.NetInResponse](p, &protocol.NetInRequest{Handle: handle, HostPort: proto.Uint32(21105)})
	assert.EqualValues(t, 21105, given.GetHostPort())
	assert.EqualValues(t, 21105, given.GetContainerPort())
	kept := ask[*protocol.NetInResponse](p, &protocol.NetInRequest{Handle: handle, ContainerPort: proto.Uint32(21106)})
	assert.EqualValues(t, 21106, kept.GetContainerPort())
	assert.Contains(t, p.refused(&protocol.NetInRequest{Handle: handle, HostPort: proto.Uint32(21107), ContainerPort: proto.Uint32(8080)}), "not supported")
	assert.Contains(t, p.refused(&protocol.NetInRequest{Handle: handle, HostPort: proto.Uint32(65536 + 21107)}), "invalid")
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	other := p.create()
	ask[*protocol.NetInResponse](p, &protocol.NetInRequest{Handle: other, HostPort: proto.Uint32(21105)})
}

func TestNetOut(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	net := proto.String("192.0.2.0/24")
	for _, r := range []*protocol.NetOutRequest{
		{Network: net}, {Port: proto.Uint32(80)}, {PortRange: proto.String("8080:9080")},
		{Network: net, Protocol: protocol.NetOutRequest_UDP.Enum(), Port: proto.Uint32(53), Log: proto.Bool(true)},
		{Network: net, Protocol: protocol.NetOutRequest_ICMP.Enum(), IcmpType: proto.Int32(8), IcmpCode: proto.Int32(-1)},
		{Network: net, Protocol: protocol.NetOutRequest_ALL.Enum()},
	} {
		r.Handle = handle
		ask[*protocol.NetOutResponse](p, r)
	}
	assert.Equal(t, "Please specify network, port, and/or port_range.", p.refused(&protocol.NetOutRequest{Handle: handle}))
	for _, bad := range []string{"9:8", "8:8"} {
		assert.Equal(t, "Port range maximum must be greater than minimum", p.refused(&protocol.NetOutRequest{Handle: handle, PortRange: &bad}))
	}
	for _, bad := range []string{"", "8", "8:", "a:b", "1:65536", "-1:5"} {
		assert.Contains(t, p.refused(&protocol.NetOutRequest{Handle: handle, PortRange: &bad}), "invalid request")
	}
}

func TestAllowNetworks(t *testing.T) {
	b := memory.New(memory.Options{})
	p := start(t, warden.Config{Backend: b, AllowNetworks: []string{"10.0.0.0/8", "192.0.2.1", "192.0.2.5-192.0.2.9"}})
	rules := b.Container(*p.create()).Egress()
	require.Len(t, rules, 3)
	assert.Equal(t, container.EgressRule{Protocol: container.AllProtocols, Network: "10.0.0.0/8"}, rules[0])

	b.Next(memory.NetOut, memory.Fail(errors.New("no rules left")))
	assert.Contains(t, p.refused(&protocol.CreateRequest{Handle: proto.String("none")}), "no rules left")
	assert.Nil(t, b.Container("none"))
	ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: proto.String("none")})
}

func TestLimitMemory(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	limit := func(bytes *uint64) uint64 {
		return ask[*protocol.LimitMemoryResponse](p, &protocol.LimitMemoryRequest{Handle: handle, LimitInBytes: bytes}).GetLimitInBytes()
	}
	const none = 9223372036854771712
	assert.EqualValues(t, none, limit(nil))
	assert.EqualValues(t, 256<<20, limit(proto.Uint64(256<<20)))
	assert.EqualValues(t, 256<<20, limit(nil))
	assert.EqualValues(t, 4096, limit(proto.Uint64(0)), "not unlimited")
	assert.EqualValues(t, 64<<20, limit(proto.Uint64(64<<20-5)))
	assert.EqualValues(t, 512<<20, limit(proto.Uint64(512<<20)))
	assert.EqualValues(t, none, limit(proto.Uint64(1<<64-1)))
}

func TestLimitCPU(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	limit := func(shares *uint64) uint64 {
		return ask[*protocol.LimitCpuResponse](p, &protocol.LimitCpuRequest{Handle: handle, LimitInShares: shares}).GetLimitInShares()
	}
	assert.EqualValues(t, 1024, limit(nil))
	assert.EqualValues(t, 64, limit(proto.Uint64(64)))
	assert.EqualValues(t, 64, limit(nil))
	assert.EqualValues(t, 2, limit(proto.Uint64(0)))
}

func TestLimitBandwidth(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	r := ask[*protocol.LimitBandwidthResponse](p, &protocol.LimitBandwidthRequest{Handle: handle, Rate: proto.Uint64(1000), Burst: proto.Uint64(2000)})
	assert.EqualValues(t, 1000, r.GetRate())
	assert.EqualValues(t, 2000, r.GetBurst())
	stat := p.info(handle).GetBandwidthStat()
	assert.EqualValues(t, 1000, stat.GetInRate())
	assert.EqualValues(t, 2000, stat.GetOutBurst())
}

func TestLimitDisk(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	limit := func(r *protocol.LimitDiskRequest) *protocol.LimitDiskResponse {
		t.Helper()
		r.Handle = handle
		return ask[*protocol.LimitDiskResponse](p, r)
	}
	assert.Zero(t, limit(&protocol.LimitDiskRequest{}).GetBlock())
	r := limit(&protocol.LimitDiskRequest{Byte: proto.Uint64(1), Inode: proto.Uint64(7), BlockSoft: proto.Uint64(3)})
	for _, got := range []uint64{r.GetBlock(), r.GetBlockHard(), r.GetBlockLimit()} {
		assert.EqualValues(t, 1, got)
	}
	for _, got := range []uint64{r.GetByte(), r.GetByteHard(), r.GetByteLimit()} {
		assert.EqualValues(t, 1024, got)
	}
	for _, got := range []uint64{r.GetInode(), r.GetInodeHard(), r.GetInodeLimit()} {
		assert.EqualValues(t, 7, got)
	}
	assert.EqualValues(t, 3, r.GetBlockSoft())
	assert.EqualValues(t, 3072, r.GetByteSoft())

	r = limit(&protocol.LimitDiskRequest{
		ByteLimit: proto.Uint64(1 << 20), Byte: proto.Uint64(2 << 20), ByteHard: proto.Uint64(3 << 20),
		BlockLimit: proto.Uint64(40), Block: proto.Uint64(50), BlockHard: proto.Uint64(60),
	})
	assert.EqualValues(t, 60, r.GetBlock(), "later ones win")
	assert.EqualValues(t, 7, r.GetInode(), "what is not given stays")
	assert.EqualValues(t, 30, limit(&protocol.LimitDiskRequest{ByteHard: proto.Uint64(99 << 20), BlockLimit: proto.Uint64(30)}).GetBlock())
	assert.EqualValues(t, 0, limit(&protocol.LimitDiskRequest{BlockHard: proto.Uint64(0)}).GetByte(), "unlimited")

	none := start(t, warden.Config{NoDiskQuota: true})
	handle = none.create()
	assert.Nil(t, ask[*protocol.LimitDiskResponse](none, &protocol.LimitDiskRequest{Handle: handle, Byte: proto.Uint64(1)}).Block)
}
