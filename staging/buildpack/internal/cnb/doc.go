// Package cnb has what cloud native buildpacks are about, apart from running their programs: the files that they write
// and read, the search for a group, the environment that layers make, and the script that starts a process at last.
//
// It holds to the Buildpack API from [Lowest] to [Highest] (github.com/buildpacks/spec), and where that leaves a question
// open, to the lifecycle of the same project. Everything that it reads was written by buildpacks, so it is bounded in
// size, depth and work; what is wrong with a file is a [*FileError].
//
// The package touches no container and no file.
package cnb
