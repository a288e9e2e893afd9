// Package logs bundles the logs of a BOSH agent's machine into one archive (fetch_logs, bundle_logs): of its jobs, of the agent, and of
// the system.
//
// What is taken is chosen by globs. Nothing outside of the log directories gets in, whatever links jobs leave there, and what goes
// in is bounded in number and size. Uploading is the caller's.
package logs
