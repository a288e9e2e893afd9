package directory

import (
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of a placeCache: how long a place may be kept, how many, and how long a URL may be, in bytes.
const (
	maxCache  = time.Second
	maxPlaces = 1024
	maxKey    = 2 << 10
)

// A placeCache remembers for a moment where the files of instances are, by path and query of the request. Nil remembers
// nothing.
type placeCache struct {
	keep, maxAge time.Duration
	mu           sync.Mutex
	places       map[string]knownPlace
}

type knownPlace struct {
	Location
	until time.Time
}

func cacheKey(u *url.URL) string { return u.EscapedPath() + "?" + u.RawQuery }

func (c *placeCache) find(u *url.URL, now time.Time) (Location, bool) {
	if c == nil {
		return Location{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.places[cacheKey(u)]
	return known.Location, ok && now.Before(known.until)
}

// add remembers a place that was asked for at a time.
func (c *placeCache) add(u *url.URL, place Location, asked time.Time) {
	if c == nil {
		return
	}
	key, until := cacheKey(u), asked.Add(c.keep)
	expiry, ok := expiry(u.RawQuery, c.maxAge)
	if !ok || len(key) > maxKey || !strings.HasPrefix(u.Path, instancePrefix) {
		return
	}
	if expiry.Before(until) {
		until = expiry
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.places) >= maxPlaces {
		maps.DeleteFunc(c.places, func(_ string, known knownPlace) bool { return !asked.Before(known.until) })
	}
	if len(c.places) >= maxPlaces {
		return
	}
	if c.places == nil {
		c.places = map[string]knownPlace{}
	}
	c.places[key] = knownPlace{place, until}
}

func (c *placeCache) forget(u *url.URL) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.places, cacheKey(u))
}

// expiry returns when a URL is no longer valid, by its timestamp.
func expiry(rawQuery string, maxAge time.Duration) (at time.Time, ok bool) {
	for p := range params(rawQuery) {
		if p.name != "timestamp" {
			continue
		}
		seconds, err := strconv.ParseInt(p.value(), 10, 64)
		if err != nil || ok || seconds < 0 || seconds > 1<<40 {
			return time.Time{}, false
		}
		at, ok = time.Unix(seconds+1, 0).Add(maxAge.Truncate(time.Second)), true
	}
	return at, ok
}
