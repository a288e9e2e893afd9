package router

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/messaging"
)

// table holds the routes: for each host its endpoints. An entry is known by its host and the endpoint's address.
type table struct {
	threshold time.Duration // after which an entry that was not renewed is dropped
	setAside  time.Duration // how long an endpoint that could not be reached is avoided

	mu    sync.Mutex
	hosts map[string]*pool
}

type pool struct {
	endpoints []*endpoint
	next      int // whose turn it is
}

type endpoint struct {
	target
	app        string
	tags       map[string]string
	seen       time.Time
	asideUntil time.Time
}

// target is what the proxy needs of an endpoint.
type target struct {
	addr     string
	instance string // private instance id, may be empty
}

// An Endpoint is one entry of [Router.Routes].
type Endpoint struct {
	Addr string // host:port
	App  string
	Tags map[string]string
	Seen time.Time // when it was last registered
}

// register adds or renews entries. It returns the URIs, or the address, that it cannot use.
func (t *table) register(route messaging.Route, now time.Time) (refused []string) {
	to := target{address(route), route.PrivateInstanceID}
	if to.addr == "" {
		return []string{route.Host}
	}
	var hosts []string
	for _, uri := range route.URIs {
		if host := hostOf(uri); host != "" && usable(uri) && host == hostOf(host) {
			hosts = append(hosts, host)
		} else {
			refused = append(refused, uri)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(hosts, func(host string) bool { return !t.hosts[host].has(to) }) {
		t.vacate(to)
	}
	for _, host := range hosts {
		p := t.hosts[host]
		if p == nil {
			p = &pool{}
			t.hosts[host] = p
		}
		e := p.find(to.addr)
		if e == nil {
			e = &endpoint{}
			p.endpoints = append(p.endpoints, e)
		}
		e.target, e.app, e.tags, e.seen = to, route.App, route.Tags, now
	}
	return refused
}

// vacate drops the entries of other instances at an address: the port was given to a new instance, and the good-bye of
// the old one was lost.
func (t *table) vacate(to target) {
	if to.instance == "" {
		return
	}
	t.drop(func(e *endpoint) bool {
		return e.addr == to.addr && e.instance != "" && e.instance != to.instance
	})
}

// unregister removes entries. An entry that meanwhile belongs to another instance stays.
func (t *table) unregister(route messaging.Route) {
	addr := address(route)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, uri := range route.URIs {
		host := hostOf(uri)
		p := t.hosts[host]
		if p == nil {
			continue
		}
		e := p.find(addr)
		if e == nil || e.instance != "" && route.PrivateInstanceID != "" && e.instance != route.PrivateInstanceID {
			continue
		}
		p.endpoints = slices.DeleteFunc(p.endpoints, func(other *endpoint) bool { return other == e })
		if len(p.endpoints) == 0 {
			delete(t.hosts, host)
		}
	}
}

// prune drops the entries that were not renewed, and returns how many.
func (t *table) prune(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drop(func(e *endpoint) bool { return now.Sub(e.seen) >= t.threshold })
}

func (t *table) drop(gone func(*endpoint) bool) (dropped int) {
	for host, p := range t.hosts {
		before := len(p.endpoints)
		p.endpoints = slices.DeleteFunc(p.endpoints, gone)
		dropped += before - len(p.endpoints)
		if len(p.endpoints) == 0 {
			delete(t.hosts, host)
		}
	}
	return dropped
}

// renew keeps all entries for another threshold: they could not be renewed while there was no link to NATS.
func (t *table) renew(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.hosts {
		for _, e := range p.endpoints {
			e.seen = now
		}
	}
}

// pick chooses an endpoint for a host that is not among those tried already: the wanted instance if it is there, else
// the next in turn, those set aside last. known is false when there is no route at all.
func (t *table) pick(host, instance string, tried []string, now time.Time) (to target, known, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.lookup(host)
	if p == nil {
		return target{}, false, false
	}
	choice, last := -1, -1
	for i := range p.endpoints {
		at := (p.next + i) % len(p.endpoints)
		e := p.endpoints[at]
		switch {
		case slices.Contains(tried, e.addr):
		case now.Before(e.asideUntil):
			if last < 0 {
				last = at
			}
		case instance != "" && e.instance == instance:
			return e.target, true, true
		case choice < 0:
			choice = at
		}
	}
	if choice < 0 {
		choice = last
	}
	if choice < 0 {
		return target{}, true, false
	}
	p.next = choice + 1
	return p.endpoints[choice].target, true, true
}

// lookup finds the pool of a host, or of the nearest wildcard: "*.example.com" serves "a.b.example.com".
func (t *table) lookup(host string) *pool {
	if p := t.hosts[host]; p != nil {
		return p
	}
	for rest := host; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if p := t.hosts["*."+parent]; p != nil {
			return p
		}
		rest = parent
	}
}

// failed sets an endpoint of a host aside.
func (t *table) failed(host, addr string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.lookup(host); p != nil {
		if e := p.find(addr); e != nil {
			e.asideUntil = now.Add(t.setAside)
		}
	}
}

func (t *table) snapshot() map[string][]Endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	routes := make(map[string][]Endpoint, len(t.hosts))
	for host, p := range t.hosts {
		for _, e := range p.endpoints {
			routes[host] = append(routes[host], Endpoint{e.addr, e.app, maps.Clone(e.tags), e.seen})
		}
		slices.SortFunc(routes[host], func(a, b Endpoint) int { return strings.Compare(a.Addr, b.Addr) })
	}
	return routes
}

func (p *pool) has(to target) bool {
	if p == nil {
		return false
	}
	e := p.find(to.addr)
	return e != nil && e.target == to
}

func (p *pool) find(addr string) *endpoint {
	for _, e := range p.endpoints {
		if e.addr == addr {
			return e
		}
	}
	return nil
}

// hostOf brings a host name, with or without a port, into the form in which it is looked up.
func hostOf(name string) string {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// usable tells whether a name has nothing but a host and perhaps a port: paths are not supported.
func usable(name string) bool {
	return name != "" && len(name) <= 260 && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/?#@\`, r)
	})
}

// address returns host:port of a route, or "" when its host is none.
func address(route messaging.Route) string {
	if !usable(route.Host) || strings.ContainsAny(route.Host, "[]*") {
		return ""
	}
	return net.JoinHostPort(route.Host, strconv.Itoa(int(route.Port)))
}
