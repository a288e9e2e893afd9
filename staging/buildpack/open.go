package buildpack

// Open returns the buildpack whose files stand in a directory of the host, of the kind that the files tell. key is empty
// unless it is an admin buildpack. The directory must be readable for the user of the container, and stay until the
// container is gone.
func Open(key, dir string) (Buildpack, error) {
	return NewClassic(key, dir)
}
