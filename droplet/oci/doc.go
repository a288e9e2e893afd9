// Package oci turns droplets into container images and images into droplets, without a registry, a daemon or root.
//
//   - [Export] writes a droplet as an image to a [Target]: an OCI image layout in a directory ([Dir]) or a tar file ([Tar]),
//     or a docker-archive ([DockerArchive]). The image has the layers of a base, the stack, which is an [Image] too, and
//     one with the droplet. It starts the app as a DEA does: as vcap, in /home/vcap/app, after the scripts in .profile.d.
//   - [OpenDir] and [OpenTar] open an image in a layout or archive, [Image.Droplet] makes a droplet of what it has in
//     /home/vcap.
//
// Images are reproducible: the same droplet, base and options give the same bytes. Reading trusts nothing: digests are
// checked, names lead nowhere else, and everything is bounded (see droplet.Limits).
//
// Pushing to a registry and running images are the business of other tools, such as skopeo and any container engine. The
// formats are those of the OCI image specification 1.1 and of Docker's image specification 1.2.
package oci
