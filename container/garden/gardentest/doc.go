// Package gardentest tests the Garden back end against the public server package of Garden, with plain processes behind
// it, and a DEA on top. It is a module of its own, as the library does without what Garden depends on.
//
//	cd container/garden/gardentest && GOWORK=off go test -race ./...
package gardentest
