package action

import "context"

// A Request is what a method may want to know of the request that calls it.
type Request struct {
	Method   string
	Protocol int    // 0 to 3, see messaging.AgentRequest
	TaskID   string // of the task that runs the method; empty when it is answered directly
	ReplyTo  string // who asked: a subject, or over HTTPS any name
}

type requestKey struct{}

// With returns a context that carries a request.
func With(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns the request that a method's context carries; a zero one when it was called in another way.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}
