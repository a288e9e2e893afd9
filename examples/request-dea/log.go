package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// The files in which people look for why an app ended, and how much is shown of one. What the startup script says is in
// startupLog, and also in the first one where that counts.
var logFiles = []string{"/logs/stderr.log", "/logs/stdout.log", startupLog}

const startupLog = "/logs/startup.log"

const maxLog = 4 << 10

// logTail is the end of each log file with something in it, or why there is none.
func (w *watch) logTail(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*silence)
	defer cancel()
	var text strings.Builder
	for _, name := range logFiles {
		if name == startupLog && text.Len() > 0 {
			break // it has but noise of commands beside the app
		}
		data, err := w.file(ctx, name)
		switch {
		case errors.Is(err, errNoFile):
		case err != nil:
			return fmt.Sprintf("its log cannot be read: %v", err)
		case len(data) > 0:
			fmt.Fprintf(&text, "--- %s\n%s", name, data)
		}
	}
	if text.Len() == 0 {
		return "its log is empty; that of the DEA tells more"
	}
	return strings.TrimRight(text.String(), "\n")
}

var (
	errNoFile = errors.New("no such file")
	// errNotKept: the DEA has no files of the instance, or has not put them away yet, which it does when it has told of the end.
	errNotKept = errors.New("the DEA has kept no files of it; its own log tells more")
)

// file fetches the end of a file of the instance by signed URL, from where the DEA has registered its directory server.
func (w *watch) file(ctx context.Context, name string) ([]byte, error) {
	found, err := find(ctx, w.conn, messaging.FindMessage{Filter: w.filter(), Path: messaging.Present(name)})
	if err != nil {
		return nil, err
	}
	signed, err := url.Parse(found.FileURIV2)
	if err != nil || signed.Host == "" {
		return nil, errors.New("the DEA gives no URL for it")
	}
	at, err := w.route(ctx, signed.Hostname())
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+signed.RequestURI(), nil)
	if err != nil {
		return nil, errors.New("the DEA gives a URL for it that is none")
	}
	request.Host = signed.Host
	return fetchKept(request)
}

// firstPause is that before a second attempt.
const firstPause = 50 * time.Millisecond

// fetchKept is fetchEnd, which waits for files to be put away: longer from time to time.
func fetchKept(request *http.Request) ([]byte, error) {
	for pause := firstPause; ; pause *= 2 {
		data, err := fetchEnd(request)
		switch {
		case pause > firstPause && request.Context().Err() != nil:
			return nil, errNotKept // whatever ended the last attempt
		case !errors.Is(err, errNotKept):
			return data, err
		}
		select {
		case <-time.After(pause):
		case <-request.Context().Done():
		}
	}
}

// route is where a router would send requests for a host. As one that comes up, it has DEAs tell their routes.
func (w *watch) route(ctx context.Context, host string) (string, error) {
	routes, err := w.conn.SubscribeSync(string(messaging.RouterRegister))
	if err != nil {
		return "", err
	}
	defer func() { _ = routes.Unsubscribe() }() // it fails on a closed connection only
	if err := messaging.RouterStart.Publish(w.conn, messaging.RouterHello{ID: rand.Text(), Hosts: []string{}}); err != nil {
		return "", err
	}
	for {
		msg, err := routes.NextMsgWithContext(ctx)
		if err != nil {
			return "", fmt.Errorf("no directory server is registered for %s", host)
		}
		route, err := messaging.RouterRegister.Decode(msg.Data)
		if err == nil && slices.Contains(route.URIs, host) {
			return net.JoinHostPort(route.Host, strconv.Itoa(int(route.Port))), nil
		}
	}
}

// fetchEnd returns the last maxLog bytes of a file. Errors are without the URL, which is good for whoever has it.
func fetchEnd(request *http.Request) ([]byte, error) {
	request.Header.Set("Range", fmt.Sprintf("bytes=-%d", maxLog))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy stands before a directory server
	response, err := client.Do(request)
	var failed *url.Error
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("the directory server does not answer: %w", failed.Err)
	} else if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable: // an empty file has no end
		return nil, errNoFile
	case http.StatusServiceUnavailable:
		return nil, errNotKept
	default:
		return nil, fmt.Errorf("the directory server says %s", response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxLog))
	if err != nil {
		return nil, fmt.Errorf("read it from the directory server: %w", err)
	}
	return data, nil
}
