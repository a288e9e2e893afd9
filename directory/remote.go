package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/logtext"
)

// RemoteConfig sets up a Remote.
type RemoteConfig struct {
	// URL is where the file API listens: "http://127.0.0.1:<file_api_port>". Required.
	URL string

	// Under is the directory of the host that all files are below; paths elsewhere are refused. Default "/".
	Under string

	// AsOwner reads with the rights of him to whom the files of the instance belong, where the process is root: see
	// [Tree.AsOwner]. He is known by the first directory on the way to the file, below Under, that belongs neither to root
	// nor to the owner of Under. Default false: with all rights that the process has, as the original does.
	AsOwner bool

	// Timeout bounds one question to the file API; default 5 s.
	Timeout time.Duration

	// Cache is how long the place of an instance's file is known without asking again, for the same URL; at most 1 s,
	// default 0. What an instance does in that time (it stops, a link leads elsewhere) is not seen. Answers for staging
	// tasks are never kept, as clients wait for the 404 that follows a task, nor are refusals, nor anything for longer than
	// the URL is valid.
	Cache time.Duration

	// MaxAge is how long URLs are valid for the file API; default 3600 s (dea_ng). It only matters to Cache.
	MaxAge time.Duration
}

// Remote resolves requests by asking the file API of a DEA, an original one or FileAPI, over HTTP.
type Remote struct {
	base    url.URL
	under   string
	asOwner bool
	client  http.Client
	cache   *placeCache // nil: none
}

// maxAnswer bounds the answer of a file API, in bytes.
const maxAnswer = 1 << 20

// NewRemote returns an error when the URL names no host. The caller closes the Remote.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("file API: URL is not of the form http://host:port")
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("file API: Timeout is %v; give a positive duration, or 0 for 5 s", cfg.Timeout)
	}
	if cfg.Cache < 0 || cfg.Cache > maxCache {
		return nil, fmt.Errorf("file API: Cache is %v; give a duration up to %v, or 0 for none", cfg.Cache, maxCache)
	}
	if cfg.MaxAge < 0 {
		return nil, fmt.Errorf("file API: MaxAge is %v; give a positive duration, or 0 for one hour", cfg.MaxAge)
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	under, err := filepath.Abs(cmp.Or(cfg.Under, "/"))
	if err != nil {
		return nil, fmt.Errorf("file API: Under: %w", err)
	}
	m := &Remote{
		base:  url.URL{Scheme: base.Scheme, Host: base.Host},
		under: under, asOwner: cfg.AsOwner,
		client: http.Client{
			Timeout: cfg.Timeout,
			// No proxy: this is a conversation within one machine. Idle connections for a burst of requests, or else
			// each request takes a port that TIME_WAIT keeps.
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if cfg.Cache > 0 {
		m.cache = &placeCache{keep: cfg.Cache, maxAge: cmp.Or(cfg.MaxAge, time.Hour)}
	}
	return m, nil
}

// Close closes idle connections. Resolve still works afterwards.
func (m *Remote) Close() { m.client.CloseIdleConnections() }

// Resolve sends path and query of r, and nothing else of it, to the file API. An answer other than 200 is returned as an
// *Answer; redirects are not followed. When there is no answer, or one of more than 1 MiB, the error is ErrUnreachable or
// ErrInvalidJSON. The location refuses all links, since the path of an honest file API has none.
func (m *Remote) Resolve(ctx context.Context, r *http.Request) (Location, error) {
	if place, ok := m.cache.find(r.URL, time.Now()); ok {
		place.remembered = m
		return place, nil
	}
	return m.resolve(ctx, r)
}

// resolve asks.
func (m *Remote) resolve(ctx context.Context, r *http.Request) (Location, error) {
	asked := time.Now()
	answer, err := m.ask(ctx, r.URL)
	if err != nil {
		return Location{}, err
	}
	if answer.Status != http.StatusOK {
		m.cache.forget(r.URL)
		return Location{}, answer
	}
	place, err := m.place(answer.Body)
	if err == nil {
		m.cache.add(r.URL, place, asked)
	}
	return place, err
}

// place reads the answer of a file API.
func (m *Remote) place(body []byte) (Location, error) {
	var fields map[string]json.RawMessage // not a struct: its keys would match in any case
	var path *string
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["instance_path"], &path) != nil ||
		path == nil || !filepath.IsAbs(*path) {
		return Location{}, ErrInvalidJSON
	}
	// The path has no links; the directory that it is below may have been given with some.
	for _, form := range []func(string) (string, error){filepath.Abs, filepath.EvalSymlinks} {
		under, err := form(m.under)
		if err != nil {
			return Location{}, notAccessible("directory %s, below which all files are: %v", m.under, plain(err))
		}
		if below, err := filepath.Rel(under, *path); err == nil && filepath.IsLocal(below) {
			return Location{Tree: Tree{Dir: under, NoLinks: true, AsOwner: m.asOwner}, Path: below}, nil
		}
	}
	return Location{}, notAccessible("%s is not below %s", logtext.OfURL(*path), m.under)
}

func (m *Remote) ask(ctx context.Context, from *url.URL) (*Answer, error) {
	// Host and scheme are always those of the configuration, never those of a request in absolute form.
	target := m.base
	target.Path, target.RawPath = from.Path, from.RawPath
	target.RawQuery, target.ForceQuery = from.RawQuery, from.ForceQuery
	if !strings.HasPrefix(target.Path, "/") {
		target.Path, target.RawPath = "/"+target.Path, ""
	}
	req := (&http.Request{Method: http.MethodGet, URL: &target, Header: http.Header{}}).WithContext(ctx)
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusOK { // 101 has no end, and less than 100 no meaning
		return nil, fmt.Errorf("%w: it answered with status %d", ErrUnreachable, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, withoutURL(err))
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrInvalidJSON, maxAnswer)
	}
	return &Answer{Status: resp.StatusCode, Header: endToEnd(resp.Header), Body: body}, nil
}

// withoutURL drops the URL from an error of http.Client: its query is what lets a person read the file.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// endToEnd removes the header fields that concern one connection only (RFC 9110, 7.6.1).
func endToEnd(h http.Header) http.Header {
	for _, list := range h.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
		"Upgrade", "Content-Length"} {
		h.Del(name)
	}
	return h
}
