// Package transport carries requests to an agent, over NATS or HTTPS, and its replies back.
//
// [NATS] hears the subject agent.<id>, [HTTPS] serves /agent and /blobs. Both call one [Handler] and may run side by side; a
// handler must not wait for long work but answer with a task. What both do alike stands here: the size rule ([Reply.Encode]),
// encryption (package seal), and the rule by which old agents put long replies into a blob store.
//
// The package is of use without the rest of the agent: a Handler is a function.
package transport
