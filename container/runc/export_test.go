package runc

// MarkOf is for tests that look for what is left of a depot.
var MarkOf = markOf
