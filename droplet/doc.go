// Package droplet handles the droplet, the archive that staging makes of an app and that every instance of the app
// starts from: a compressed tar of app/, logs/, tmp/ and staging_info.yml, with names that begin with "./" (dea_ng).
//
//   - [Pack] and [Compress] make droplets, [Unpack] and [NewReader] read them, [Repack] brings those of others into the
//     same form. Buildpacks and apps make droplets, so reading trusts nothing: see [Limits] and [MemberError].
//   - [Inspect] tells the start command, process types and buildpacks of a droplet from its beginning, [Verify] reads all
//     of it and judges it. [StagingInfo] is the content of staging_info.yml, [ParseInfo] reads it alone.
//   - [Store] keeps droplets on disk by their SHA-1 digest, downloads each one once however many instances ask for it,
//     and removes those that nobody uses.
//
// Droplets are gzip files unless asked for otherwise; all that reads takes zstd as well, by the first bytes (see [Format]).
// Both are written on all processors, up to 16, and read in memory that does not depend on the size of the droplet. The
// same tree gives the same bytes: [PackOptions.ModTime] leaves the times of files out of that. docs/performance.md has
// figures.
//
// The package does not start instances, and it does not download: a Store is given the function that does. Images for
// container engines are made by its subpackage oci.
package droplet
