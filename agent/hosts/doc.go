// Package hosts keeps the names of other machines of a deployment on a BOSH agent's machine (sync_dns): a list of records that the
// director makes goes to /etc/hosts, and verbatim to a file that DNS servers on the machine read.
//
// Each list has a version. An older one than the machine has is not even fetched.
package hosts
