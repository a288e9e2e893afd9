package messaging_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestGoldenQueuedStaging(t *testing.T) {
	golden(t, messaging.StagerQueue("staging").Subject(), messaging.QueuedStaging{
		AppID: "my-sinatra-app", DownloadURI: "http://u:p@h/a", UploadURI: "http://h/u", Properties: json.RawMessage(`{"services":[]}`),
	}, `{"app_id":"my-sinatra-app","download_uri":"http://u:p@h/a","upload_uri":"http://h/u","properties":{"services":[]}}`)
	golden(t, messaging.OldStagerQueue("staging"), messaging.QueuedStaging{
		DownloadURI: "http://h/a", UploadURI: "http://h/u", Notify: "cc.1", Properties: json.RawMessage(`{}`),
	}, `{"download_uri":"http://h/a","upload_uri":"http://h/u","notify_subj":"cc.1","properties":{}}`)
	golden(t, messaging.Subject[messaging.QueuedStagingAnswer]("answer"), messaging.QueuedStagingAnswer{TaskID: "9f", TaskLog: "[…] Done!\n"},
		`{"task_id":"9f","task_log":"[…] Done!\n"}`)
	assert.EqualValues(t, "vcap.stager.staging", messaging.OldStagerQueue("staging"))
}

func TestEnvelopesOfQueuedStaging(t *testing.T) {
	const inner = `{"download_uri":"http://h/%s","upload_uri":"u","properties":{}}`
	at := func(s string) string { return `{"download_uri":"http://h/` + s + `","upload_uri":"u","properties":{}}` }
	for wire, want := range map[string]string{
		`{"min_version":1,"V1":` + at("1") + `}`:                                                "http://h/1",
		`{"min_version":1,"V1":` + at("1") + `,"V10":` + at("10") + `,"V9":{}}`:                 "http://h/10",
		`{"min_version":1,"V2":null,"Vx":` + at("x") + `,"V1":` + at("1") + `}`:                 "http://h/1",
		`{"min_version":1,"V1":` + at("1") + `,` + at("raw")[1:]:                                "http://h/raw", // both forms at once
		`{"app_id":7,"upload_uri":"u","properties":{},"download_uri":"d","V1":` + at("1") + `}`: "d",
	} {
		m, err := messaging.StagerQueue("q").Decode([]byte(wire))
		require.NoError(t, err, wire)
		assert.Equal(t, want, m.DownloadURI, wire)
	}
	for _, wire := range []string{`{"V1":` + at("1") + `}`, `{"min_version":1}`, `{"min_version":1,"V1":[]}`, inner[:20], `{"min_version":1,"V1":{"download_uri":7}}`} {
		_, err := messaging.StagerQueue("q").Decode([]byte(wire))
		var refused *messaging.MessageError
		require.ErrorAs(t, err, &refused, wire)
	}
}

// TestErrorsOfStagers: those of each era are told alike.
func TestErrorsOfStagers(t *testing.T) {
	for wire, want := range map[string]string{
		`{"class":"VCAP::Stager::DropletCreationError","details":"xxx"}`: "Failed creating droplet:\n xxx",
		`{"class":"VCAP::Stager::AppDownloadError"}`:                     "Failed downloading application from the Cloud Controller",
		`{"class":"VCAP::Stager::AppUnzipError","details":null}`:         "Failed unzipping application",
		`{"class":"VCAP::Stager::StagingTimeoutError","details":""}`:     "Staging operation timed out",
		`{"class":"VCAP::Stager::NewError","details":"x","more":1}`:      "VCAP::Stager::NewError:\n x",
		"Staging task failed:\n Failed downloading app":                  "Staging task failed:\n Failed downloading app",
		`{"class":7}`:   `{"class":7}`,
		`{"class":""}`:  `{"class":""}`,
		`{"other":"x"}`: `{"other":"x"}`,
		`[]`:            `[]`,
		``:              ``,
	} {
		assert.Equal(t, want, messaging.QueuedStagingAnswer{Error: wire}.Failure(), wire)
	}
	e := messaging.StagerError{Class: messaging.StagingPluginFailed, Details: "a\n\"b\""}
	back, ok := messaging.ParseStagerError(e.Encode())
	assert.True(t, ok)
	assert.Equal(t, e, back)
	assert.Equal(t, "Staging task failed:\n Failed unpacking app", messaging.StagerError{Class: messaging.TaskFailed, Details: "Failed unpacking app"}.Error())
}

func TestAnswersThatAreEncodedTwice(t *testing.T) {
	want := messaging.QueuedStagingAnswer{TaskID: "123", TaskLog: "", Error: "no"}
	for _, wire := range []string{
		`{"task_id":123,"task_log":"","error":"no","detected_buildpack":null}`, `"{\"task_id\":\"123\",\"task_log\":\"\",\"error\":\"no\"}"`,
	} {
		have, err := messaging.StagerQueue("q").DecodeAnswer([]byte(wire))
		require.NoError(t, err)
		assert.Equal(t, want, have)
	}
	for _, wire := range []string{`"x"`, `""`, `"\"{}\""`, `7`, ``} {
		_, err := messaging.StagerQueue("q").DecodeAnswer([]byte(wire))
		require.Error(t, err, wire)
	}
}

func TestAskOldStager(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn, peer := server.Connect(), server.Connect()
	sub, err := peer.QueueSubscribe("vcap.stager.q", "vcap.stager.q", func(m *nats.Msg) {
		request, err := messaging.OldStagerQueue("q").Decode(m.Data)
		assert.NoError(t, err)
		assert.Empty(t, m.Reply)
		assert.NoError(t, peer.Publish(request.Notify, []byte(`{"task_id":"1","task_log":"l","error":"{\"class\":\"VCAP::Stager::AppUnzipError\"}"}`)))
	})
	require.NoError(t, err)
	require.NoError(t, peer.Flush())
	request := messaging.QueuedStaging{DownloadURI: "d", UploadURI: "u", Properties: json.RawMessage(`{}`)}
	answer, err := messaging.AskOldStager(t.Context(), conn, "q", request)
	require.NoError(t, err)
	assert.Equal(t, "Failed unzipping application", answer.Failure())

	require.NoError(t, sub.Unsubscribe())
	require.NoError(t, peer.Flush())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	_, err = messaging.AskOldStager(ctx, conn, "q", request)
	require.ErrorIs(t, err, context.Canceled)
	_, err = messaging.AskOldStager(t.Context(), conn, "q", messaging.QueuedStaging{})
	var refused *messaging.MessageError
	require.ErrorAs(t, err, &refused)
	_, err = messaging.StagerQueue("q").Ask(t.Context(), conn, request)
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// TestAnswerEach: also those are answered whose requests cannot be read.
func TestAnswerEach(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn, peer := server.Connect(), server.Connect()
	in := messaging.NewInbox(conn, nil)
	require.NoError(t, messaging.AnswerEach(in, messaging.StagerQueue("q"), "q",
		func(_ context.Context, m messaging.QueuedStaging, err error, to messaging.Reply) {
			answer := messaging.QueuedStagingAnswer{TaskID: messaging.Text(m.DownloadURI)}
			if err != nil {
				answer.Error = err.Error()
			}
			assert.NoError(t, messaging.Send(to, answer))
		}))
	require.NoError(t, conn.Flush())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- in.Run(ctx) }()
	for request, want := range map[string]string{
		`{"download_uri":"d","upload_uri":"u","properties":1}`: `{"task_id":"d","task_log":""}`,
		`{"download_uri":"d","upload_uri":"u"}`:                `{"task_id":"d","task_log":"","error":"message on q refused: properties is required"}`,
		`{"upload_uri":[],"download_uri":"d","properties":1}`:  `{"task_id":"d","task_log":"","error":"message on q refused: upload_uri must not be a array"}`,
		`{"download_uri":"d"`:                                  `{"task_id":"","task_log":"","error":"message on q refused: is not valid JSON: unexpected end of JSON input"}`,
	} {
		msg, err := peer.Request("q", []byte(request), patience)
		require.NoError(t, err)
		assert.Equal(t, want, string(msg.Data))
	}
	cancel()
	require.NoError(t, <-done)
}

// TestDrainLosesNothing: what the server has sent before it knew is there for who goes on dispatching.
func TestDrainLosesNothing(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn, peer := server.Connect(), server.Connect()
	in := messaging.NewInbox(conn, nil)
	handled := 0
	require.NoError(t, messaging.Handle(in, messaging.StagingLocate, func(context.Context, messaging.Signal) { handled++ }))
	require.NoError(t, conn.Flush())
	const messages = 5000
	for range messages {
		require.NoError(t, messaging.StagingLocate.Publish(peer, messaging.Signal{}))
	}
	require.NoError(t, peer.Flush(), "the server has them")
	require.NoError(t, in.Drain(t.Context()))
	require.NoError(t, messaging.StagingLocate.Publish(peer, messaging.Signal{}))
	require.NoError(t, peer.Flush())
	require.NoError(t, conn.Flush())
	for len(in.C()) > 0 {
		in.Dispatch(t.Context(), <-in.C())
	}
	assert.Equal(t, messages, handled)

	server.Stop()
	soon(t, "it is away", func() bool { return !conn.IsConnected() })
	require.NoError(t, in.Drain(t.Context()), "nothing is on its way")
}
