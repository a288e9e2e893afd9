// Package router is a small HTTP router for a platform on one machine: it learns from NATS which host names lead to
// which instances (router.register, router.unregister) and passes requests on.
//
// A [Router] asks all who have routes to register when it starts and when its NATS connection comes back, answers
// router.greet, and drops routes that nobody renews. It spreads the requests for a host over its endpoints in turn,
// tries another endpoint where that cannot do harm, keeps sessions on their instance, and passes upgrades (WebSocket)
// and streams through.
//
// It is not gorouter: no TLS, no routes with paths, no access log, no metrics. Put a proxy that speaks TLS before it
// and set [Config.TrustForwarded].
//
// # When a request is tried again
//
// When no connection to an endpoint can be made, nothing was sent: the request goes to another endpoint, whatever its
// method, and the endpoint is set aside for a while. When a connection breaks before the answer, only GET, HEAD,
// OPTIONS and TRACE without a body are tried again: as often as it takes when it was an idle connection that the
// endpoint had closed meanwhile, once when it was a new one, so that a request that kills instances does not go round
// all of them. Anything else may have been acted upon: an instance should serve for a moment after its route is gone.
package router
