// Package standin has what binaries need that stand in for a Cloud Controller for the length of one request: a connection to the
// bus, and a place from which a node fetches a file, or to which it posts one.
package standin
