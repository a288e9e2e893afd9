// Package instance is one running copy of a droplet: its environment and start script, its health check, its states
// from BORN to STOPPED or CRASHED, a registry of such copies, and the snapshot that outside tools read.
//
// An [Instance] is made by [New], which reserves memory and disk, and lives through one call of [Instance.Run]. Its
// state changes only along the table of [Transitions]; each change is told, in order, to the observer that New was
// given. Instance knows nothing of NATS: droplet/dea turns changes into messages.
//
// The states, the order of the start sequence, the environment and the texts of exit descriptions are those of dea_ng;
// where dea_ng has known faults (two ends of one instance, an end after a stop) there is exactly one end here.
//
// Droplets from before there were buildpacks, which bring the scripts startup and stop, run as the first-generation DEA ran
// them: [Config].Runtime finds what runs their apps.
package instance
