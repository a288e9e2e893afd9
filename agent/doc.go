// Package agent is the place of the BOSH agent as an embeddable service. It holds no code yet.
package agent
