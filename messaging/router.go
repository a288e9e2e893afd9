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
	ID    string   `json:"id"`
	Hosts []string `json:"hosts"`

	// How often the router wants to hear of a route, and when it forgets one, in seconds; 0 when it does not say.
	MinimumRegisterInterval Int `json:"minimumRegisterIntervalInSeconds"`
	PruneThreshold          Int `json:"pruneThresholdInSeconds,omitempty"`
}

func (*RouterHello) ignored() {} // an older router sends less, and its start alone says enough

// A Route says that requests for the hosts in URIs go to Host:Port.
type Route struct {
	DEA  string   `json:"dea,omitempty"`
	App  string   `json:"app,omitempty"`
	URIs []string `json:"uris" validate:"required"`
	Host string   `json:"host" validate:"required"`
	Port uint16   `json:"port" validate:"gte=1"`

	// Tags say what answers there: {"component": "dea-0"}.
	Tags map[string]string `json:"tags,omitempty"`

	PrivateInstanceID string `json:"private_instance_id,omitempty"` // 64 hex digits, for sticky sessions
}
