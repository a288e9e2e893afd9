// Package process runs the scripts of jobs and packages: each in a process group of its own, which ends with the script's
// context, TERM first and KILL after a time of grace.
//
// What leaves its process group (setsid) is out of reach: only a container could hold it. What a script leaves behind in
// the group when it ends by itself lives on unless it says otherwise.
package process
