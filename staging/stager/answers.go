package stager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
)

// A requester is told what becomes of its task. ctx bounds what takes time.
type requester interface {
	setUp(context.Context, messaging.StagingSetup) error
	refused(context.Context, messaging.StagingRefusal) error
	done(context.Context, messaging.StagingResult) error
}

// byNATS answers now, or when the connection is back.
type byNATS struct {
	outbox *messaging.Outbox
	reply  messaging.Reply
}

func (b byNATS) setUp(_ context.Context, m messaging.StagingSetup) error {
	return messaging.PostAnswer(b.outbox, b.reply, m)
}

func (b byNATS) refused(_ context.Context, m messaging.StagingRefusal) error {
	return messaging.PostAnswer(b.outbox, b.reply, m)
}

func (b byNATS) done(_ context.Context, m messaging.StagingResult) error {
	return messaging.PostAnswer(b.outbox, b.reply, m)
}

// byHTTP posts the last answer to the Cloud Controller (dea_ng from 2016). There is no first one.
type byHTTP struct {
	base    string // internal API of the Cloud Controller, with user info
	stager  string // id
	closing <-chan struct{}
}

func (byHTTP) setUp(context.Context, messaging.StagingSetup) error { return nil }

func (b byHTTP) refused(ctx context.Context, m messaging.StagingRefusal) error {
	return b.post(ctx, m.AppID, struct {
		messaging.StagingRefusal
		DEAID string `json:"dea_id"`
	}{m, b.stager})
}

func (b byHTTP) done(ctx context.Context, m messaging.StagingResult) error {
	m.DEAID = b.stager
	return b.post(ctx, m.AppID, m)
}

const (
	callbackAttempts = 3
	callbackPause    = 500 * time.Millisecond // after the first attempt; twice that after the second
)

// post tries up to three times where that may help: when nobody answers, at 404, and at 5xx.
func (b byHTTP) post(ctx context.Context, app string, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	target, err := url.JoinPath(b.base, "internal/dea/staging", url.PathEscape(app), "completed")
	if err != nil {
		return errors.New("the URL of the Cloud Controller is invalid")
	}
	for attempt := 1; ; attempt++ {
		status, err := transfer.PostJSON(ctx, nil, target, body)
		if err == nil && status/100 == 2 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the Cloud Controller answered %d to the result of staging", status)
		}
		helps := status == 0 || status == http.StatusNotFound || status >= 500
		if !helps || attempt == callbackAttempts || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(callbackPause * time.Duration(attempt)):
		case <-b.closing: // no time to wait
		case <-ctx.Done():
		}
	}
}
