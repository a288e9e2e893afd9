// Package buildpack holds the kinds of buildpack, and the places that they come from.
//
// A [Buildpack] turns the source of an app into something that runs. Its programs are foreign and run in a container
// only; the engine in package staging tells them when.
//
//   - [Classic] is the kind with bin/detect, bin/compile and bin/release (Heroku, dea_ng).
//   - [Multi] is one or several with bin/supply and bin/finalize (buildpackapplifecycle).
//   - [Open] tells the kind by the files, and [Compose] makes one of several that a person named.
//   - Its files come from a directory ([NewClassic]), from a zip file that a [Store] keeps by key, or from a git
//     repository ([NewGit]).
//
// The package does not choose among buildpacks, and knows nothing of apps, droplets and messages.
package buildpack
