// Package buildpack holds the kinds of buildpack, and the places that they come from.
//
// A [Buildpack] turns the source of an app into something that runs. Its programs are foreign and run in a container
// only; the engine in package staging tells them when.
//
//   - [Classic] is the kind with bin/detect, bin/compile and bin/release (Heroku, dea_ng).
//   - [Multi] is one or several with bin/supply and bin/finalize (buildpackapplifecycle).
//   - [CNB] is a cloud native buildpack, or groups of them, with bin/detect and bin/build, run without images.
//   - [Open] tells the kind by the files, and [Compose] makes one of several that a person named.
//   - [ParseSource] reads what people type, a directory, an archive, a URL, and tells the [Source] of the files. What is not
//     in a directory of this machine is [Fetched] when it is prepared.
//   - A [Store] keeps admin buildpacks by key.
//
// Cloud native buildpacks see no difference to the lifecycle of their project but these. The app is in /home/vcap/app and
// layers are in /home/vcap/layers, in the root file system of the container instead of a builder image. Labels, slices, bills
// of materials and image extensions mean nothing here. A layer for launch that its buildpack wants to be used again without making it
// comes from the cache, which is larger for that. Processes are started by layers/config/launch in the droplet, a bash script:
// variables that bash cannot set are left out, and the log says so. Arguments of processes that run in a shell (Buildpack
// API below 0.9) are expanded as in double quotes.
//
// Where a back end has no root file systems of its own (container/process), a droplet is built at one path and runs at
// another, and so does a layer that comes from the cache. The script and the cache put the present path into variables,
// commands and metadata. What stands in files of layers and of the app, as in the first line of a script or in the
// settings of a virtual environment, nobody corrects: apps that rely on it need a back end with root file systems
// (container/runc), where the path is always the same.
//
// The package does not choose among buildpacks, and knows nothing of apps, droplets and messages.
package buildpack
