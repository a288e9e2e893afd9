// Package lifecycle has the programs of buildpackapplifecycle as functions: [Builder] turns the source of an app into a
// droplet, [Launcher] starts the app of a droplet, [Shell] opens a shell beside it, [HealthCheck] asks whether it is up.
// They take the command lines of the originals, read and write the same files, and end with the same exit codes, so that
// what schedules containers with the originals in them can take these instead.
//
// A scheduler has put the programs into a container, and that is where they work: on the file system that they stand on,
// under the account that they run under. Builder runs buildpacks there with nothing between them and what that account
// may do. The package confines nobody: who stages sources of others on a machine of their own takes package staging with
// a container back end.
//
// Where they differ from the originals: lists and choices that were random are sorted, launch.yml is looked for in the
// directory that the buildpack was given, commits can be named for git repositories, and a Procfile makes no process of
// a sidecar. Archives have bounds (see [Build]).
package lifecycle
