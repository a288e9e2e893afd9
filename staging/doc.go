// Package staging turns the source of an app into a droplet: it lets buildpacks detect, compile and release in a
// container, and packs what they leave.
//
// [Stage] is the engine. It works in any container.Container, takes the source from a file or directory of this machine
// and writes the droplet wherever it is told to; it downloads and uploads nothing and speaks no protocol. Package
// staging/stager is the service around it, package staging/buildpack what it runs.
//
// What the programs print goes to a [Log], which is a file of the host that can be followed while staging goes on. What
// goes wrong is an [*Error] that tells the step, the buildpack and the last lines of output.
package staging
