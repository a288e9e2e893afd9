package router

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/messaging"
)

func newTable() *table {
	return &table{threshold: 120 * time.Second, setAside: 5 * time.Second, hosts: map[string]*pool{}}
}

func routeTo(port uint16, instance string, uris ...string) messaging.Route {
	return messaging.Route{Host: "127.0.0.1", Port: port, URIs: uris, PrivateInstanceID: instance}
}

func TestEntriesAgeByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		routes := newTable()
		routes.register(routeTo(1, "", "a", "b"), time.Now())
		time.Sleep(60 * time.Second)
		routes.register(routeTo(1, "", "b"), time.Now())
		routes.register(routeTo(2, "", "a"), time.Now())
		time.Sleep(59 * time.Second)
		assert.Zero(t, routes.prune(time.Now()))
		time.Sleep(time.Second)
		assert.Equal(t, 1, routes.prune(time.Now()), "127.0.0.1:1 of a")
		routes.renew(time.Now())
		time.Sleep(119 * time.Second)
		assert.Zero(t, routes.prune(time.Now()))
		time.Sleep(time.Second)
		assert.Equal(t, 2, routes.prune(time.Now()))
		assert.Empty(t, routes.hosts)
	})
}

func TestSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		routes := newTable()
		routes.register(routeTo(1, "", "a"), time.Now())
		routes.register(routeTo(2, "", "a"), time.Now())
		pick := func(tried ...string) string {
			to, known, _ := routes.pick("a", "", tried, time.Now())
			assert.True(t, known)
			return to.addr
		}
		routes.failed("a", "127.0.0.1:1", time.Now())
		assert.Equal(t, "127.0.0.1:2", pick())
		assert.Equal(t, "127.0.0.1:2", pick())
		assert.Equal(t, "127.0.0.1:1", pick("127.0.0.1:2"), "better than none")
		assert.Empty(t, pick("127.0.0.1:1", "127.0.0.1:2"))
		time.Sleep(5 * time.Second)
		assert.NotEqual(t, pick(), pick())
	})
}

func TestHostOf(t *testing.T) {
	for name, want := range map[string]string{
		"Shop.Example.COM": "shop.example.com", "shop:80": "shop", "shop.": "shop", "shop.:80": "shop",
		"[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "127.0.0.1:1": "127.0.0.1", "": "", ":80": "", "*.x": "*.x",
	} {
		assert.Equal(t, want, hostOf(name), name)
	}
}

// Whatever a message says: each entry has a good address and is found by the name under which it stands, and the same
// message takes all of it away.
func FuzzRegister(f *testing.F) {
	f.Add([]byte(`{"host":"10.0.3.7","port":61017,"uris":["Shop.example.com:80","*.x"],"private_instance_id":"p"}`))
	f.Add([]byte(`{"host":"::1","port":1,"uris":["[::1]:80","a/b","","a..b."]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		route, err := messaging.RouterRegister.Decode(data)
		if err != nil {
			return
		}
		routes := newTable()
		routes.register(route, time.Now())
		for host, p := range routes.hosts {
			if hostOf(host) != host {
				t.Errorf("%q is looked up as %q", host, hostOf(host))
			}
			for _, e := range p.endpoints {
				if _, _, err := net.SplitHostPort(e.addr); err != nil {
					t.Error(err)
				}
			}
		}
		routes.unregister(route)
		if len(routes.hosts) > 0 {
			t.Errorf("left: %v", routes.hosts)
		}
	})
}
