// Package runtimes finds the program that runs an app: what a request calls its runtime ("ruby19", with an executable
// and a version that it wants) becomes the path of an executable of the machine, or of a container.
//
// The names and versions of 2012 are not those of today's distributions. A [Resolver] is strict, as the first-generation
// DEA was: only runtimes that its catalogue names, and only with the version that the catalogue or the request asks for.
// Or it is relaxed, which is the default: a name that it knows under another one is taken ("ruby193" is whatever "ruby"
// is), and another version than the wanted one is a warning.
//
// It knows nothing of apps and droplets, so that a DEA can use it alone.
package runtimes
