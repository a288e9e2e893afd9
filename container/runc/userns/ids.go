package userns

import (
	"bufio"
	"errors"
	"fmt"
	"os"
)

// IDs are those that this process's user namespace has, from 0 on without a gap.
type IDs struct {
	Inside bool // it is not that of the machine
	Count  int  // of user ids that are group ids too

	outer []extent
}

// An extent is a part of a map of ids: so many, from inside and from outer on.
type extent struct{ inside, outer, count int }

// Current reads the maps of this process.
func Current() (IDs, error) {
	uids, err := readMap("/proc/self/uid_map")
	if err != nil {
		return IDs{}, err
	}
	gids, err := readMap("/proc/self/gid_map")
	if err != nil {
		return IDs{}, err
	}
	const all = 1<<32 - 1
	machine := len(uids) == 1 && uids[0] == extent{0, 0, all}
	return IDs{Inside: !machine, Count: min(unbroken(uids), unbroken(gids)), outer: uids}, nil
}

// Outer returns the user id of the parent namespace that stands for one of this, and -1 if there is none.
func (ids IDs) Outer(uid int) int {
	for _, e := range ids.outer {
		if uid >= e.inside && uid-e.inside < e.count {
			return e.outer + uid - e.inside
		}
	}
	return -1
}

func readMap(file string) ([]extent, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []extent
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e extent
		if _, err := fmt.Sscan(lines.Text(), &e.inside, &e.outer, &e.count); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		list = append(list, e)
	}
	if len(list) == 0 && lines.Err() == nil {
		return nil, fmt.Errorf("read %s: %w", file, errors.New("the namespace has no ids"))
	}
	return list, lines.Err()
}

// unbroken counts the ids from 0 on. The kernel lists extents in the order in which they were written.
func unbroken(list []extent) int {
	next := 0
	for range list {
		for _, e := range list {
			if e.inside <= next && next < e.inside+e.count {
				next = e.inside + e.count
			}
		}
	}
	return next
}
