// Package task runs the long work of an agent: it hands out an id at once, and the outcome when it is asked for.
//
// A [Manager] takes any number of tasks up to a bound without making anyone wait, runs some of them at a time, and keeps
// outcomes for a while, a bounded number and amount of them. Cancelling belongs to a task's id: it never hits another task of
// the same method. With a [Store], tasks that say so survive the process: whoever asks for one by its id after a restart
// gets the outcome of its resumption. The file is that of the Go agent (bosh-agent), bosh/tasks.json.
package task
