// Package backends opens the container back end that a binary was asked for, or the strongest that works on this machine,
// and tells people which and why.
//
// Each back end has a depot of its own, so that one never takes the containers of another for its own. What an earlier
// process left decides before strength does: apps that still run go on in the back end that they are in.
package backends
