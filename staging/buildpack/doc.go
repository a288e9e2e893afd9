// Package buildpack holds the kinds of buildpack, and the places that they come from.
//
// A [Buildpack] turns the source of an app into something that runs. Its programs are foreign and run in a container
// only; the engine in package staging tells them when.
//
//   - [Classic] is the kind with bin/detect, bin/compile and bin/release (Heroku, dea_ng).
//   - [Multi] is one or several with bin/supply and bin/finalize (buildpackapplifecycle).
//   - [Open] tells the kind by the files, and [Compose] makes one of several that a person named.
//   - [ParseSource] reads what people type, a directory, an archive, a URL, and tells the [Source] of the files. What is not
//     in a directory of this machine is [Fetched] when it is prepared.
//   - A [Store] keeps admin buildpacks by key.
//
// The package does not choose among buildpacks, and knows nothing of apps, droplets and messages.
package buildpack
