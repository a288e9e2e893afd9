// Package buildpacks holds no code of its own: its directories are sample buildpacks of the classic kind (bin/detect,
// bin/compile, bin/release), and its tests stage and run the sample apps in ../apps with them.
package buildpacks
