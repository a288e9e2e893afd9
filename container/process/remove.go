package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/internal/rmtree"
)

// removeTree removes what stands under name in the depot. All processes that could change it are gone, but what they
// left may be meant to be in the way.
func removeTree(depot *os.Root, name string) error {
	if err := refuseMounts(filepath.Join(depot.Name(), name)); err != nil {
		return err
	}
	if err := rmtree.In(depot, name); err == nil {
		return nil
	}
	// A stream into the container may have made a file in the meantime; it has ended by now.
	return rmtree.In(depot, name)
}

// refuseMounts fails when something is mounted below dir: a process with privileges can do that, and removing the tree
// would remove what is mounted.
func refuseMounts(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("look for mounts in %s: %w", dir, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // proc_pid_mountinfo(5): the fifth is the mount point
		if len(fields) > 4 && covers(dir, unescapeMount(fields[4])) {
			return fmt.Errorf("something is mounted at %s: unmount it first", unescapeMount(fields[4]))
		}
	}
	return lines.Err()
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
