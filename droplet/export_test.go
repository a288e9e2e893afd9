package droplet

// Waiters returns how many calls wait for the download of a droplet, so that a test knows when all have joined.
func (s *Store) Waiters(sha1 string) int { return s.shelf.Waiting(sha1) }
