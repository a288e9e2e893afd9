// Package transfer downloads and uploads files over HTTP as the DEA and its stager do: packages, buildpacks and
// droplets, from and to URLs that hold credentials (dea_ng).
//
// Errors have the texts of the original, which end up in messages that others read; they never hold the user info of a
// URL. The package keeps no files. It continues downloads that broke off, and tries nothing else again. Every transfer is
// bounded in size, in the time in which nothing moves, and in all its time.
package transfer
