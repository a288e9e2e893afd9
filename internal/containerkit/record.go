package containerkit

import (
	"encoding/json"
	"fmt"
	"os"
)

// SaveRecord writes down a container, as JSON in the file name below root, in one step: whoever reads it finds the old
// record or the new one. It is not forced to disk: it is for a successor on a machine that runs on, as containers do not
// survive anything else. Only this user may read it, as environments hold secrets.
func SaveRecord(root *os.Root, name string, record any) error {
	text, err := json.MarshalIndent(record, "", "\t")
	next := name + ".next"
	if err == nil {
		err = root.WriteFile(next, text, 0o600)
	}
	if err == nil {
		err = root.Rename(next, name)
	}
	if err != nil {
		return fmt.Errorf("write the record of the container: %w", err)
	}
	return nil
}
