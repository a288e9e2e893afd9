// Package container is the interface on which everything that runs an app or a buildpack stands: a [Backend] makes
// [Container]s, a Container runs [Process]es.
//
// The package holds the vocabulary only. Back ends stand in packages of their own and are chosen by binaries and
// tests; a service takes a Backend and never names one:
//
//   - container/process runs plain child processes: no isolation, no privileges needed, works everywhere;
//   - container/memory runs Go functions in place of processes, for tests of what stands on a Backend;
//   - container/containertest is the conformance suite that each back end passes, measured against the
//     [Capabilities] that the back end declares;
//   - container/resources is the ledger of memory and disk from which work reserves before it makes a container.
//
// # Paths
//
// A path given to a Container is absolute and means the file system of the container: "/home/vcap/app". A back end
// without root file systems of its own ([Capabilities].RootFS false) keeps such files in a directory of the host,
// where processes see them under another name. [Info] tells both names: [Info.Inside] gives the path that a process
// in the container must use, [Info.OnHost] the one that a process on the host must use. Code that hands a path to a
// process passes it through Info.Inside and so runs on every back end.
package container
