// Package client talks to the API of a served reference platform, and to its apps and their files through its router.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

// A Client talks to one platform. It may be used from several goroutines at once.
type Client struct {
	api    string
	http   *http.Client
	routed *http.Client // sends every request to the router, whatever the host
	info   controller.Info
}

// An APIError is a refusal by the platform.
type APIError struct {
	Status int
	Text   string
}

func (e *APIError) Error() string { return e.Text }

// Dial finds out where things are. It fails when no platform listens at the URL of the API.
func Dial(ctx context.Context, api string) (*Client, error) {
	c := &Client{api: strings.TrimSuffix(api, "/"), http: &http.Client{Transport: &http.Transport{}}}
	if err := c.get(ctx, "/v1/info", &c.info); err != nil {
		return nil, fmt.Errorf("no platform at %s: %w; start one with \"paas serve\", or name it with --api", api, err)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	c.routed = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", c.info.Router)
		},
		MaxIdleConnsPerHost: 16,
	}}
	return c, nil
}

// Close gives idle connections back.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.routed.CloseIdleConnections()
}

// Info tells where things are.
func (c *Client) Info() controller.Info { return c.info }

// Apps lists the apps.
func (c *Client) Apps(ctx context.Context) (apps []controller.AppView, err error) {
	return apps, c.get(ctx, "/v1/apps", &apps)
}

// App describes one app.
func (c *Client) App(ctx context.Context, name string) (app controller.AppView, err error) {
	return app, c.get(ctx, appPath(name), &app)
}

// DEAs lists the DEAs.
func (c *Client) DEAs(ctx context.Context) (deas []controller.DEAView, err error) {
	return deas, c.get(ctx, "/v1/deas", &deas)
}

// Scale sets the number of instances of an app.
func (c *Client) Scale(ctx context.Context, name string, instances int) error {
	return c.send(ctx, http.MethodPost, appPath(name)+"/scale?instances="+strconv.Itoa(instances), nil)
}

// Start starts a stopped app.
func (c *Client) Start(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodPost, appPath(name)+"/start", nil)
}

// Stop stops an app.
func (c *Client) Stop(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodPost, appPath(name)+"/stop", nil)
}

// Delete stops an app and forgets it.
func (c *Client) Delete(ctx context.Context, name string) error {
	return c.send(ctx, http.MethodDelete, appPath(name), nil)
}

// Evacuate tells a DEA, named by the beginning of its id, to leave. The last one leaves only with force.
func (c *Client) Evacuate(ctx context.Context, dea string, force bool) (e controller.Evacuation, err error) {
	path := "/v1/deas/" + url.PathEscape(dea) + "/evacuate"
	if force {
		path += "?force=true"
	}
	body, err := c.do(ctx, http.MethodPost, path, nil)
	if err != nil {
		return e, err
	}
	defer body.Close()
	return e, json.NewDecoder(body).Decode(&e)
}

// PutBuildpack uploads a buildpack, a zip file, under a key.
func (c *Client) PutBuildpack(ctx context.Context, key string, zip io.Reader) error {
	return c.send(ctx, http.MethodPut, "/v1/buildpacks/"+url.PathEscape(key), zip)
}

// FileURL returns the signed URL of a path of an instance. Get it with Fetch.
func (c *Client) FileURL(ctx context.Context, app string, index int, path string) (string, error) {
	var found struct {
		URL string `json:"url"`
	}
	query := url.Values{"index": {strconv.Itoa(index)}, "path": {path}}
	return found.URL, c.get(ctx, appPath(app)+"/files?"+query.Encode(), &found)
}

// Fetch gets a URL of an app, or of its files, through the router. The caller closes the body.
func (c *Client) Fetch(ctx context.Context, url string) (*http.Response, error) {
	return c.FetchAs(ctx, url, "")
}

// FetchAs is Fetch with a media type that is preferred; an empty one is none.
func (c *Client) FetchAs(ctx context.Context, url, mediaType string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		r.Header.Set("Accept", mediaType)
	}
	return c.routed.Do(r)
}

// FetchText is Fetch for what is short and expected to be there.
func (c *Client) FetchText(ctx context.Context, url string) (string, error) {
	response, err := c.Fetch(ctx, url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// Events yields what happened after an event, and with follow what happens from now on until ctx ends.
func (c *Client) Events(ctx context.Context, after int64, follow bool) func(yield func(controller.Event, error) bool) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if follow {
		query.Set("follow", "true")
	}
	return stream[controller.Event](ctx, c, "/v1/events?"+query.Encode())
}

// Logs yields the newest lines of an app, and with follow those that come until ctx ends or the app is deleted.
func (c *Client) Logs(ctx context.Context, app string, follow bool) func(yield func(messaging.AppLogLine, error) bool) {
	path := appPath(app) + "/logs"
	if follow {
		path += "?follow=true"
	}
	return stream[messaging.AppLogLine](ctx, c, path)
}

// stream yields the JSON values of an answer as they come, until ctx ends.
func stream[T any](ctx context.Context, c *Client, path string) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		body, err := c.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer body.Close()
		for value, err := range lines[T](body) {
			if ctx.Err() != nil || !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// A PushError tells that a push was not successful. The app is as it was before.
type PushError struct {
	App      string
	Kind     string // "staging" or "rollout"
	Text     string
	Instance string // the one that crashed, if one did
}

func (e *PushError) Error() string { return e.Text }

// Push uploads a package, a zip or gzip-compressed tar of the source, and waits until it runs. It reports what happens
// on the way. What the settings leave out stays as it is.
func (c *Client) Push(ctx context.Context, s controller.Settings, source io.Reader, report func(controller.Event)) error {
	query := url.Values{"env": s.Env, "route": s.Routes}
	for name, value := range map[string]string{
		"instances": strconv.Itoa(s.Instances), "memory_mb": strconv.FormatInt(s.MemoryMB, 10),
		"disk_mb": strconv.FormatInt(s.DiskMB, 10), "command": s.Command, "buildpack": s.Buildpack,
		"framework": s.Framework, "runtime": s.Runtime,
	} {
		if value != "" && value != "0" {
			query.Set(name, value)
		}
	}
	body, err := c.do(ctx, http.MethodPost, appPath(s.Name)+"/push?"+query.Encode(), source)
	if err != nil {
		return err
	}
	defer body.Close()
	for line, err := range lines[controller.PushLine](body) {
		switch {
		case err != nil:
			return fmt.Errorf("the platform went away during the push: %w", err)
		case line.Event != nil:
			report(*line.Event)
		case line.Done && line.Error != "":
			return &PushError{App: s.Name, Kind: line.Kind, Text: line.Error, Instance: line.Instance}
		case line.Done:
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("the platform went away during the push")
}

func appPath(name string) string { return "/v1/apps/" + url.PathEscape(name) }

func (c *Client) get(ctx context.Context, path string, into any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

func (c *Client) send(ctx context.Context, method, path string, content io.Reader) error {
	body, err := c.do(ctx, method, path, content)
	if err != nil {
		return err
	}
	return body.Close()
}

// do sends a request and returns the body of a good answer.
func (c *Client) do(ctx context.Context, method, path string, content io.Reader) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.api+path, content)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(r)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return nil, fmt.Errorf("%s %s://%s%s: %w", method, r.URL.Scheme, r.URL.Host, r.URL.Path, wrapped.Err) // a query may hold secrets
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	refusal := struct{ Error string }{}
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &refusal) != nil || refusal.Error == "" {
		refusal.Error = fmt.Sprintf("the platform answered %s", response.Status)
	}
	return nil, &APIError{response.StatusCode, refusal.Error}
}

// lines yields the JSON values of a stream, one a line.
func lines[T any](r io.Reader) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			var value T
			if err := json.Unmarshal(scanner.Bytes(), &value); err != nil {
				yield(value, err)
				return
			}
			if !yield(value, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			var none T
			yield(none, err)
		}
	}
}
