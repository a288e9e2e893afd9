// Package job makes a machine what an apply spec says: it installs jobs and packages, links them, removes what is wanted no
// more, and keeps the spec (bosh-agent). It starts nothing: that is for whoever supervises the processes, who gets the
// monit files from here.
//
// Below the base directory ("/var/vcap"):
//
//	data/jobs/NAME/HASH/        an installed job; the hash is of its version and the digest of the rendered templates
//	data/packages/NAME/HASH/    an installed package; the hash is of its version and digest
//	jobs/NAME, packages/NAME    links to them
//	jobs/NAME/packages/PACKAGE  a link to each package of the spec, in each job
//	data/NAME, data/sys/log/NAME, data/sys/run/NAME   for what a job writes
//	bosh/spec.json, instance/*  the spec and what jobs read of it (package spec)
//
// The process may be killed at any time: what has its name there is whole, and applying the same spec again leads to the
// same state.
package job
