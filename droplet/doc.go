// Package droplet handles the droplet, the archive that staging makes of an app and that every instance of the app
// starts from: a gzip-compressed tar of app/, logs/, tmp/ and staging_info.yml, with names that begin with "./"
// (dea_ng).
//
//   - [Pack] and [Compress] make droplets, [Unpack] and [NewReader] read them. Buildpacks and apps make droplets,
//     so reading trusts nothing: see [Limits] and [MemberError].
//   - [StagingInfo] is the content of staging_info.yml, [ReadInfo] finds it in a droplet, [ParseInfo] reads it alone.
//   - [Store] keeps droplets on disk by their SHA-1 digest, downloads each one once however many instances ask for it,
//     and removes those that nobody uses.
//
// The package does not start instances, and it does not download: a Store is given the function that does.
package droplet
