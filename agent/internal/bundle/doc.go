// Package bundle keeps what an agent installs: jobs and packages, each a directory below data with a link to it where
// people look for it.
//
//	data/jobs/<name>/<dir>/        jobs/<name> -> ../data/jobs/<name>/<dir>
//	data/packages/<name>/<dir>/    packages/<name> -> ../data/packages/<name>/<dir>
//
// A directory under such a name is whole: archives are unpacked under another name, written to disk and renamed, and
// what is removed gets another name first. So a process may be killed at any time. Everything happens beneath an os.Root;
// links are relative, which os.Root follows and which stay right in another root directory.
package bundle
