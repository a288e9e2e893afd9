// Package compile turns the source of a package into a compiled one, as a director asks an agent on a compilation machine:
// it unpacks the source and the packages that it depends on, runs the script packaging with bash, and stores what that has
// installed as an archive (bosh-agent).
//
// The script finds itself in data/compile/NAME below the base directory, writes to packages/NAME, and is told both by
// BOSH_COMPILE_TARGET and BOSH_INSTALL_TARGET; BOSH_PACKAGE_NAME and BOSH_PACKAGE_VERSION say what it makes. Its
// output is in sys/log/compilation until the next one runs.
//
// Where jobs are installed, they have their packages back afterwards, whatever happens, which is more than the original
// does. After a kill that is with the next compilation or installation.
package compile
