package tap

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// A record is what is shown of one message.
type record struct {
	Time     time.Time       `json:"time"`
	Subject  string          `json:"subject"`
	From     string          `json:"from,omitempty"`
	To       string          `json:"to,omitempty"`
	Purpose  string          `json:"purpose,omitempty"`
	AnswerTo string          `json:"answer_to,omitempty"` // subject of the request
	Reply    string          `json:"reply,omitempty"`
	Bytes    int             `json:"bytes"`
	Problem  string          `json:"problem,omitempty"` // why a receiver would refuse it
	Message  json.RawMessage `json:"message,omitempty"` // compact; nil when it is no JSON
}

// record reads a message and remembers it when it asks for an answer.
func (t *Tap) record(msg *nats.Msg) record {
	rec := record{Time: t.now(), Subject: msg.Subject, Reply: msg.Reply, Bytes: len(msg.Data), Message: t.shown(msg.Data)}
	req, isAnswer := t.requests.find(msg.Subject)
	kind, known := messaging.KindOf(msg.Subject)
	decode := kind.Decode
	switch {
	case isAnswer:
		rec.AnswerTo, rec.From, rec.To, decode = req.subject, req.kind.To, req.kind.From, req.kind.DecodeAnswer
		t.counts.Answers++
	case known:
		rec.From, rec.To, rec.Purpose = kind.From, kind.To, kind.Purpose
	}
	if decode == nil {
		t.counts.Unknown++
	} else if _, err := decode(msg.Data); err != nil {
		rec.Problem = problem(err)
		t.counts.Invalid++
	}
	t.counts.Messages++
	if msg.Reply != "" {
		t.requests.add(msg.Reply, request{msg.Subject, kind})
	}
	return rec
}

// shown returns the JSON to show, nil for what is none: of that nobody can say what in it is secret.
func (t *Tap) shown(data []byte) json.RawMessage {
	if t.opts.ShowSecrets {
		var whole bytes.Buffer
		if json.Compact(&whole, data) != nil {
			return nil
		}
		return whole.Bytes()
	}
	masked, err := Mask(data)
	if err != nil {
		return nil
	}
	return masked
}

func problem(err error) string {
	var refused *messaging.MessageError
	if !errors.As(err, &refused) {
		return maskText(err.Error())
	}
	texts := make([]string, len(refused.Problems))
	for i, p := range refused.Problems {
		texts[i] = strings.TrimSpace(p.Field + " " + p.Text)
	}
	return maskText(strings.Join(texts, "; "))
}
