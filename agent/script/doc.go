// Package script runs the scripts of installed jobs when a director asks for them: run_script (pre-start, post-start and so
// on), drain, and run_errand (bosh-agent).
//
// Scripts stand in jobs/NAME/bin below the base directory. Each is a process group of its own, with a clean environment:
// PATH, TMPDIR and HOME, and what the request adds; nothing of that of the agent. When its context ends, the group gets
// TERM, and KILL after a time of grace. What has left the group is out of reach, and what a script leaves behind in the
// background when it ends by itself lives on, since drain scripts do their work that way; errands leave nothing in their group.
package script
