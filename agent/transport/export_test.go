package transport

// For tests of what takes too long to wait for.
var (
	ReconnectDelay = reconnectDelay
	Outlast        = outlast
)
