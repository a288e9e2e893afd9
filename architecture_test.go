package deakit_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/deakit/deakit"

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// packages lists the library's packages with what they import when they are not tested.
func packages(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string]listed{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p
	}
}

// layer is how high a package stands; imports run downwards only. What is shared inside stands below all, what only
// tests use above.
func layer(name string) int {
	switch {
	case slices.Contains([]string{"internal/testapp", "internal/stagetest", "internal/certtest", "messaging/messagingtest", "container/containertest", "agent/blobstore/blobstoretest"}, name):
		return 4
	case name == "droplet/dea/config": // reads a file and knows no service
		return 2
	case strings.HasPrefix(name, "droplet/dea"), strings.HasPrefix(name, "staging/stager"), strings.HasPrefix(name, "agent"):
		return 3
	case strings.HasPrefix(name, "staging"), strings.HasPrefix(name, "droplet/instance"),
		strings.HasPrefix(name, "directory"), strings.HasPrefix(name, "heartbeat"), strings.HasPrefix(name, "component"):
		return 2
	case strings.HasPrefix(name, "internal"), name == "":
		return 0
	default:
		return 1 // messaging, container, droplet, logging, applog
	}
}

func TestImportsRunDownwards(t *testing.T) {
	for name, p := range packages(t) {
		for _, imported := range p.Imports {
			other, ours := strings.CutPrefix(imported, module+"/")
			if !ours || strings.HasPrefix(other, "internal/") && layer(other) == 0 {
				continue
			}
			// A helper may know the types of the ground that it helps with.
			if strings.HasPrefix(name, "internal/") && layer(other) == 1 {
				continue
			}
			// Log lines go over NATS as messages do, and are followed where containers keep them.
			if name == "applog" && layer(other) == 1 {
				continue
			}
			sameFamily := strings.Split(name, "/")[0] == strings.Split(other, "/")[0]
			if layer(other) > layer(name) || layer(other) == layer(name) && !sameFamily {
				t.Errorf("%s (layer %d) imports %s (layer %d)", name, layer(name), other, layer(other))
			}
		}
	}
}

func TestServicesNameNoBackEnd(t *testing.T) {
	for name, p := range packages(t) {
		for _, back := range []string{"process", "runc", "warden", "garden", "memory"} {
			if slices.Contains(p.Imports, module+"/container/"+back) && !strings.HasPrefix(name, "container/") && layer(name) != 4 {
				t.Errorf("%s imports the back end %s: take a container.Backend", name, back)
			}
		}
	}
}

func TestTestLibrariesStayInTests(t *testing.T) {
	for name, p := range packages(t) {
		if layer(name) == 4 {
			continue
		}
		for _, dep := range p.Deps {
			for _, banned := range []string{"github.com/nats-io/nats-server", "github.com/stretchr/testify", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/prometheus"} {
				if strings.HasPrefix(dep, banned) {
					t.Errorf("%s depends on %s", name, dep)
				}
			}
		}
	}
}

func TestLightPackagesStayLight(t *testing.T) {
	all := packages(t)
	for _, name := range []string{"messaging", "directory", "droplet", "droplet/oci"} {
		p, ok := all[name]
		if !ok {
			t.Fatalf("package %s is gone", name)
		}
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module+"/container/") {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
}
