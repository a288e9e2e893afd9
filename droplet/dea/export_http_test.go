package dea

// Close makes the HTTP interface refuse as an evacuation does.
func (d *DEA) Close() { d.closed.Store(true) }
