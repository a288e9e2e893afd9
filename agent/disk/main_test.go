package disk_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if base := os.Getenv(migrateHere); base != "" {
		migrateAsChild(base)
		return
	}
	goleak.VerifyTestMain(m)
}
