package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxNames bounds the names of all that one answer tells of, in bytes: an app can make names for nothing, and they are held in
// memory. Records of a directory count with their heads. It is some 160 bytes for each entry where there are as many as a Server
// allows.
const maxNames = 16 << 20

// An entry is one of a directory. Links are not followed.
type entry struct {
	name     string
	mode     uint32 // of which only the type is told
	size     int64
	modified time.Time
}

func (e *entry) isDir() bool { return e.mode&unix.S_IFMT == unix.S_IFDIR }

// readEntries returns the entries of an open directory, sorted bytewise by name, without "." and "..". Those that vanish
// meanwhile are left out. More than limit, or than maxNames, are a *tooLarge. It reads the directory from the handle's position on.
//
// Sizes cost a system call for each entry; that of a directory is not shown, and without times there is nothing to ask.
func readEntries(fd, limit int, times bool) ([]entry, error) {
	entries, err := readNames(fd, limit)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	kept := entries[:0]
	for _, e := range entries {
		if times || !e.isDir() {
			var st unix.Stat_t
			// Relative to the handle, so that the directory may be moved or replaced meanwhile.
			if err := ignoringEINTR(func() error { return unix.Fstatat(fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
				continue
			}
			e.mode, e.size, e.modified = st.Mode, st.Size, time.Unix(st.Mtim.Unix())
		}
		kept = append(kept, e)
	}
	return kept, nil
}

// readNames returns names and types as the directory has them; a file system that does not keep types has 0.
func readNames(fd, limit int) (entries []entry, err error) {
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	for names := 0; ; {
		var n int
		err := ignoringEINTR(func() error {
			n, err = unix.ReadDirent(fd, buf[:])
			return err
		})
		if err == unix.ENOENT { // it was removed, and was empty before
			return entries, nil
		}
		if err != nil || n == 0 {
			return entries, err
		}
		if entries, err = appendDirents(entries, buf[:n]); err != nil {
			return nil, err
		}
		names += n
		switch {
		case len(entries) > limit:
			return nil, &tooLarge{fmt.Sprintf("directory has more than %d entries", limit)}
		case names > maxNames:
			return nil, &tooLarge{fmt.Sprintf("directory has more than %d bytes of names", maxNames)}
		}
	}
}

// appendDirents reads what getdents64(2) writes: inode, offset, length of the record, type, name and zeros.
func appendDirents(entries []entry, records []byte) ([]entry, error) {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	text := string(records) // one allocation for all names
	for at := 0; at < len(records); {
		record := records[at:]
		if len(record) < nameAt {
			return nil, unix.EIO
		}
		length := int(binary.NativeEndian.Uint16(record[lengthAt:]))
		if length < nameAt || length > len(record) {
			return nil, unix.EIO
		}
		size := bytes.IndexByte(record[nameAt:length], 0)
		if size < 0 {
			return nil, unix.EIO
		}
		name := text[at+nameAt : at+nameAt+size]
		if name != "." && name != ".." {
			entries = append(entries, entry{name: name, mode: uint32(record[typeAt]) << 12}) // as IFTODT does
		}
		at += length
	}
	return entries, nil
}
