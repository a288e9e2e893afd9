package runc

import "github.com/deakit/deakit/container/runc/internal/supervisor"

// MarkOf is for tests that look for what is left of a depot.
var MarkOf = markOf

// HasScopes tells whether containers are kept from the abstract sockets of others.
var HasScopes = supervisor.HasScopes
