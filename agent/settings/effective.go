package settings

import "strings"

// Effective is what holds of what settings and updates say about the same things.
type Effective struct {
	MbusURLs  []string
	MbusCert  Cert
	Blobstore Blobstore
	NTP       []string
}

// Listens tells whether the agent takes requests over HTTPS, and is no client of NATS.
func (e Effective) Listens() bool {
	return len(e.MbusURLs) > 0 && strings.HasPrefix(strings.ToLower(e.MbusURLs[0]), "https://")
}

// Effective decides, each on its own: an update of the director comes first, then env.bosh, then the top of the
// settings. URLs and blob stores count when their list is not empty, and of blob stores the first; a certificate when its CA
// is not empty (Go agent).
func (s *Settings) Effective(u Update) Effective {
	bosh := s.Env.Bosh
	e := Effective{MbusCert: bosh.Mbus.Cert, Blobstore: s.Blobstore, NTP: s.NTP}
	switch {
	case len(u.Mbus.URLs) > 0:
		e.MbusURLs = u.Mbus.URLs
	case len(bosh.Mbus.URLs) > 0:
		e.MbusURLs = bosh.Mbus.URLs
	case s.Mbus != "":
		e.MbusURLs = []string{s.Mbus}
	}
	if u.Mbus.Cert.CA != "" {
		e.MbusCert = u.Mbus.Cert
	}
	switch {
	case len(u.Blobstores) > 0:
		e.Blobstore = u.Blobstores[0]
	case len(bosh.Blobstores) > 0:
		e.Blobstore = bosh.Blobstores[0]
	}
	if bosh.NTP != nil {
		e.NTP = *bosh.NTP
	}
	return e
}
