package needs

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Variable is the name of the environment variable that turns skips into failures when its value is "all".
const Variable = "DEAKIT_REQUIRE"

// Tool returns the path of a program. Where it is not installed the test ends as Skip says, with a hint to the Debian
// package that has it.
func Tool(t testing.TB, name, aptPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, fmt.Sprintf("no %s on this machine: apt-get install %s", name, aptPackage))
	}
	return path
}

// Root ends the test as Skip says unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// Skip ends the test: as skipped, or as failed where everything is required. It does not return.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(Variable) == "all" {
		t.Fatalf("%s, and %s=all forbids to skip", reason, Variable)
	}
	t.Skip(reason)
}
