// Package certs keeps the certificates of authorities that a director has a machine trust (update_settings, trusted_certs), where
// the programs of the machine look for them.
package certs
