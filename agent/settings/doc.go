// Package settings finds out what a machine shall be: the settings of a BOSH agent, from wherever an infrastructure
// keeps them.
//
// A [Source] knows one such place: a file, the metadata service of a cloud ([HTTP], [InstanceMetadata]) with or without a
// registry, a drive ([ConfigDrive], [CDROM]), or the hypervisor ([VsphereGuestInfo]). [Multi] tries several. [NewSource]
// makes them from the agent's configuration file, [Infrastructure] from the name that the agent in Ruby was given.
//
// A [Loader] asks a source, keeps what it says in a file, and falls back to that file. It also keeps what a director
// changes while the agent lives ([Update]), and [Settings.Effective] tells what holds in the end.
package settings
