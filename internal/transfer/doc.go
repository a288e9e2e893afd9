// Package transfer downloads and uploads files over HTTP as the DEA and its stager do: packages, buildpacks and
// droplets, from and to URLs that hold credentials (dea_ng).
//
// Errors have the texts of the original, which end up in messages that others read; they never hold the user info of a
// URL. The package keeps no files and retries nothing.
package transfer
