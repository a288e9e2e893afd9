package settings

import (
	"reflect"
)

// An Update is what a director changes while the agent lives: the argument of update_settings, and the content of
// update_settings.json.
type Update struct {
	Blobstores       []Blobstore       `json:"blobstores"` // null keeps those that are stored
	DiskAssociations []DiskAssociation `json:"disk_associations"`
	Mbus             Mbus              `json:"mbus"` // one that is all empty keeps that which is stored
	TrustedCerts     string            `json:"trusted_certs"`
}

// A DiskAssociation gives a persistent disk a name.
type DiskAssociation struct {
	Name string `json:"name"`
	CID  string `json:"cid"`
}

// Merge returns what is to be stored when u is and next comes. It also tells whether the bus or the blob stores change, so
// that the agent must start anew. Certificates and disk associations are always replaced.
func (u Update) Merge(next Update) (merged Update, restart bool) {
	merged = u
	merged.TrustedCerts, merged.DiskAssociations = next.TrustedCerts, next.DiskAssociations
	if next.Mbus.given() && !reflect.DeepEqual(next.Mbus, u.Mbus) {
		merged.Mbus, restart = next.Mbus, true
	}
	if next.Blobstores != nil && !same(next.Blobstores, u.Blobstores) {
		merged.Blobstores, restart = next.Blobstores, true
	}
	return merged, restart
}

func (m Mbus) given() bool { return m.Cert != Cert{} || len(m.URLs) > 0 }

// same compares lists of which an empty one is as good as none.
func same(a, b []Blobstore) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
