package droplet

// Waiters returns how many calls wait for the download of a droplet, so that a test knows when all have joined.
func (s *Store) Waiters(sha1 string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[sha1]; e != nil && e.flight != nil {
		return e.flight.waiters
	}
	return 0
}
