// Package containerkit is what back ends have in common: checks of what they are told, environments, and the handing out of
// output.
package containerkit
