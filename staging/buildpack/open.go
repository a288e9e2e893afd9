package buildpack

// Open returns the buildpack whose files stand in a directory of the host, of the kind that the files tell: a [CNB] where
// there is buildpack.toml or order.toml, unless only programs of the other kinds come with it, a [Multi] of one where there is
// bin/finalize, or bin/supply without bin/compile, else a [Classic]. key is empty unless it is an admin buildpack. The directory must be readable for the user of the
// container, and stay until the container is gone.
func Open(key, dir string) (Buildpack, error) {
	if isCNB(dir) {
		c, err := NewCNB(key, dir)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	classic, err := NewClassic(key, dir)
	if err != nil {
		return nil, err
	}
	if classic.has("finalize") || classic.has("supply") && !classic.has("compile") {
		return &Multi{members: []Buildpack{classic}}, nil
	}
	return classic, nil
}
