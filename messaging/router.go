package messaging

// Subjects between the router and those who have routes (gorouter).
const (
	RouterStart      Subject[RouterHello]       = "router.start"      // router: register everything now
	RouterGreet      Query[Signal, RouterHello] = "router.greet"      // asks a router for its interval
	RouterRegister   Subject[Route]             = "router.register"   // add routes, or keep them alive
	RouterUnregister Subject[Route]             = "router.unregister" // remove routes
)

// RouterHello is what a router says of itself.
type RouterHello struct {
	ID    string   `json:"id"`    // of the router
	Hosts []string `json:"hosts"` // its IP addresses

	// How often the router wants to hear of a route, in seconds; 0 when it does not say.
	MinimumRegisterInterval Int `json:"minimumRegisterIntervalInSeconds"`

	// When the router forgets a route of which it does not hear, in seconds; 0 when it does not say (before 2015-02).
	PruneThreshold Int `json:"pruneThresholdInSeconds,omitempty"`
}

func (*RouterHello) ignored() {} // an older router sends less, and its start alone says enough

// A Route says that requests for the hosts in URIs go to Host:Port. A router drops a message with a value of the wrong
// type, such as a port of 8.0.
type Route struct {
	DEA  string   `json:"dea,omitempty"`            // id of the DEA; routers do not read it
	App  string   `json:"app,omitempty"`            // app guid
	URIs []string `json:"uris" validate:"required"` // host names, in any case; never null
	Host string   `json:"host" validate:"required"` // IP address
	Port uint16   `json:"port" validate:"gte=1"`    // TCP port

	// What answers there: {"component": "dea-0"}.
	Tags map[string]string `json:"tags,omitempty"`

	PrivateInstanceID string `json:"private_instance_id,omitempty"` // 64 hex digits, for sticky sessions

	StaleThreshold       Int    `json:"stale_threshold_in_seconds,omitempty"` // when the route is forgotten, s; 0: as the router likes
	RouteServiceURL      string `json:"route_service_url,omitempty"`          // https URL through which requests go first (later routers)
	PrivateInstanceIndex Text   `json:"private_instance_index,omitempty"`     // instance index as text, for metrics (later routers)
}
