package methods

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/digest"
	"github.com/deakit/deakit/internal/rmtree"
)

func (m *Machine) fileMethods() []action.Method {
	all := []action.Method{{Name: "remove_file", Do: m.removeFile}}
	if m.Sensitive != nil {
		all = append(all, action.Method{Name: "upload_blob", Async: true, Secret: true, Do: m.uploadBlob})
	}
	return all
}

// An Upload is the argument of upload_blob.
type Upload struct {
	ID       string        `json:"blob_id"`
	Checksum digest.Digest `json:"checksum"`
	Payload  []byte        `json:"payload"` // in base64, with line breaks or without
}

// uploadBlob keeps a blob for the methods that will ask for it by its id.
func (m *Machine) uploadBlob(ctx context.Context, u Upload) (string, error) {
	if err := blobstore.CheckID(u.ID); err != nil {
		return "", err
	}
	if err := u.Checksum.Verify(bytes.NewReader(u.Payload)); err != nil {
		return "", fmt.Errorf("Payload corrupted. Checksum mismatch. Expected '%s': %w", u.Checksum, err)
	}
	if err := m.Sensitive.Put(ctx, u.ID, bytes.NewReader(u.Payload)); err != nil {
		return "", fmt.Errorf("Storing uploaded blob: %w", err)
	}
	return u.ID, nil
}

// removeFile removes a file or a directory anywhere on the machine, with the rights of the agent: whoever may ask for it may also
// have any script run. Only what the agent itself cannot do without is spared: the base directory, and what leads there. That
// there is nothing is no error.
func (m *Machine) removeFile(_ context.Context, name string) (string, error) {
	if !filepath.IsAbs(name) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("remove file %.200q: give an absolute path", name)
	}
	target, err := m.removable(filepath.Clean(name))
	if errors.Is(err, fs.ErrNotExist) {
		return name, nil
	}
	if err == nil {
		err = rmtree.Path(target)
	}
	if err != nil {
		return "", fmt.Errorf("remove file %.200q: %w", name, err)
	}
	return name, nil
}

// removable is where a clean path leads without links, but for the last part: a link is removed, and not what it leads to.
func (m *Machine) removable(name string) (string, error) {
	base, err := filepath.EvalSymlinks(m.cfg.Base)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	target := filepath.Join(dir, filepath.Base(name))
	for _, spared := range []string{base, m.cfg.Base} {
		if target == "/" || strings.HasPrefix(spared+"/", target+"/") {
			return "", errors.New("the base directory of the agent is in it: name what is to be removed below")
		}
	}
	return target, nil
}
