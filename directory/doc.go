// Package directory lists, serves and tails files of running instances, crashed instances and staging tasks by signed
// URL, as the directory server of the DEA does (dea_ng). It has three parts, each usable alone:
//
//   - [Signer] makes and checks signed URLs, with secret texts as the DEA does or with an Ed25519 key, whose signatures a
//     [PublicVerifier] checks without a secret;
//   - a [Resolver] turns a request into a [Location], a path confined to a directory: [Local] asks a [Lookup] in the
//     same process, [Remote] asks the file API of a DEA over HTTP,
//     [Static] knows one directory;
//   - [Server] is the [http.Handler] that opens the location and lists, dumps or tails it.
//
// [FileAPI] is the DEA's side of the conversation that Remote has, so either half also works with the original of the
// other. The usual arrangement is a Server with a Local in one process, which needs no file API.
//
// The files belong to apps and buildpacks, which are not trusted. Every open is confined (see [Tree]), by the kernel in one
// call where it can, the answer is made from the handle that was opened, and anything but a regular file or directory is refused. A
// server that is root can read with the rights of the files' owner ([Tree.AsOwner], [RemoteConfig]).
//
// Requests of all kinds work in any [http.Server]. One of your own is best given a WriteTimeout, which tails and large answers
// replace by times of their own, and [ConnContext]; [Server.Run] has both.
//
// The package is Linux only. It does not register host names with a router and knows nothing of instances or their
// states: both are the business of whoever implements Lookup.
package directory
