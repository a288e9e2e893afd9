package tap

import "github.com/deakit/deakit/messaging"

// maxRequests bounds how many requests are remembered to recognise their answers.
const maxRequests = 4096

// A request that may be answered.
type request struct {
	subject string
	kind    messaging.Kind // the zero Kind when the subject is not known
}

// requests remembers requests by their reply subjects; the oldest is forgotten for a new one. Answers don't end a
// request: some have several.
type requests struct {
	byReply map[string]request
	order   []string // a ring of the keys, once it is full
	next    int
}

func (r *requests) add(reply string, req request) {
	if r.byReply == nil {
		r.byReply = map[string]request{}
	}
	if _, ok := r.byReply[reply]; !ok {
		if len(r.order) < maxRequests {
			r.order = append(r.order, reply)
		} else {
			delete(r.byReply, r.order[r.next])
			r.order[r.next] = reply
			r.next = (r.next + 1) % maxRequests
		}
	}
	r.byReply[reply] = req
}

func (r *requests) find(subject string) (request, bool) {
	req, ok := r.byReply[subject]
	return req, ok
}
