package stager

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
)

// The list of admin buildpacks that the Cloud Controller has (dea_ng from 2015-09).
const (
	listPath = "internal/buildpacks"
	listTime = time.Minute
	maxList  = 1 << 20
)

// download returns what gets an admin buildpack.
func download(uri string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		return transfer.Download(ctx, nil, uri, w, transfer.DownloadOptions{FollowRedirects: true})
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != ""
}

// prefetch gets admin buildpacks ahead of time until ctx ends: those that the Cloud Controller has now, where it can be asked,
// and then those of the lists that come. What goes wrong is only logged: whoever needs a buildpack tries again (dea_ng).
func (s *Stager) prefetch(ctx context.Context) {
	if s.cfg.CallbackURL != "" {
		list, err := s.listBuildpacks(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("stager.buildpacks.list.failed", "error", err)
		}
		s.prefetchAll(ctx, list)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case list := <-s.lists:
			s.prefetchAll(ctx, list)
		}
	}
}

// wanted takes a list of buildpacks. One that nobody has looked at yet is out of date then.
func (s *Stager) wanted(list messaging.BuildpackList) {
	for {
		select {
		case s.lists <- list:
			return
		default:
		}
		select {
		case <-s.lists:
		default:
		}
	}
}

func (s *Stager) listBuildpacks(ctx context.Context) (messaging.BuildpackList, error) {
	uri, err := url.JoinPath(s.cfg.CallbackURL, listPath)
	if err != nil {
		return nil, errors.New("the URL of the Cloud Controller is invalid")
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var body bytes.Buffer
	if err := transfer.Download(ctx, nil, uri, &body, transfer.DownloadOptions{MaxBytes: maxList}); err != nil {
		return nil, err
	}
	return messaging.Buildpacks.Decode(body.Bytes())
}

// prefetchAll gets those buildpacks of a list that are not there, one after the other.
func (s *Stager) prefetchAll(ctx context.Context, list messaging.BuildpackList) {
	for _, admin := range list {
		if ctx.Err() != nil {
			return
		}
		if !isURL(admin.URL) {
			s.log.Warn("stager.buildpack.bad-url", "key", admin.Key)
			continue
		}
		ref, err := s.parts.Buildpacks.Get(ctx, admin.Key, download(admin.URL))
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("stager.buildpack.prefetch.failed", "key", admin.Key, "error", err)
			}
			continue
		}
		ref.Release()
		s.log.Debug("stager.buildpack.there", "key", admin.Key)
	}
}
