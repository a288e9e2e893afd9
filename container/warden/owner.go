package warden

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/tarball"
)

// parseOwner understands "user" and "user:group", by name or number, as chown does. Without a group the files keep theirs.
// Empty is nil.
func parseOwner(text string) (*tarball.Owner, error) {
	if text == "" {
		return nil, nil
	}
	name, group, hasGroup := strings.Cut(text, ":")
	owner := &tarball.Owner{UID: -1, GID: -1}
	var err error
	if name != "" {
		owner.UID, err = number(name, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
	}
	if err == nil && hasGroup && group != "" {
		owner.GID, err = number(group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("owner %q: %w: %w", text, err, container.ErrInvalid)
	}
	return owner, nil
}

func number(name string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	text, err := lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}
