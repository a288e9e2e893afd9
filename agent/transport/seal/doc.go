// Package seal encrypts what directors and agents of 2012 to 2017 say to each other, where env.bosh.credentials has keys.
//
// Each message is signed with HMAC-SHA256, numbered against replay, and encrypted as the openssl tool does it (AES-256-CBC,
// key derivation by MD5). That was the format of its day; it keeps a message secret from those without the keys, not more.
// An initiator makes a [Session] with [NewSession]; whoever answers keeps its sessions in [Sessions].
package seal
