package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Layout of a listing (dea_ng): the name in 35 columns, a blank, the size in 10 columns.
const (
	nameWidth = 35
	sizeWidth = 10
)

var listings = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// list answers with the entries of a directory, sorted bytewise by name, and closes it.
func (s *Server) list(w http.ResponseWriter, r *http.Request, h *handle) {
	dir := h.file()
	defer dir.Close()
	names, err := s.names(dir)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	buf := listings.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 64<<10 {
			listings.Put(buf)
		}
	}()
	buf.Reset()
	for _, name := range names {
		var st unix.Stat_t
		// Relative to the handle, so that the directory may be moved or replaced meanwhile.
		if err := ignoringEINTR(func() error { return unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
			continue // vanished
		}
		buf.Write(appendEntry(buf.AvailableBuffer(), name, st.Size, st.Mode&unix.S_IFMT == unix.S_IFDIR))
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	_, _ = w.Write(buf.Bytes())
}

// names returns the sorted names of the entries of a directory.
func (s *Server) names(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(s.maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, plain(err)
	}
	if len(names) > s.maxEntries {
		return nil, fmt.Errorf("directory has more than %d entries: %w", s.maxEntries, unix.EFBIG)
	}
	slices.Sort(names)
	return names, nil
}

// appendEntry appends one line. Names are neither cut nor quoted; their columns are code points.
func appendEntry(b []byte, name string, size int64, dir bool) []byte {
	b = append(b, name...)
	width := utf8.RuneCountInString(name)
	var text [24]byte
	sizeText := append(text[:0], '-')
	if dir {
		b = append(b, '/')
		width++
	} else {
		sizeText = appendSize(text[:0], size)
	}
	b = appendBlanks(b, nameWidth-width+1+sizeWidth-len(sizeText), sizeWidth+1-len(sizeText))
	b = append(b, sizeText...)
	return append(b, '\n')
}

// appendBlanks appends n blanks, or least when that is more: a long name shifts the size to the right.
func appendBlanks(b []byte, n, least int) []byte {
	for range max(n, least) {
		b = append(b, ' ')
	}
	return b
}

// appendSize writes a size as dea_ng does: bytes as they are, larger units with one decimal. The unit is chosen by the
// number of bytes, so that there is a 1024.0K.
func appendSize(b []byte, size int64) []byte {
	if size < 1024 {
		return append(strconv.AppendInt(b, size, 10), 'B')
	}
	value, unit := float64(size)/1024, 0
	for limit := int64(1 << 20); size >= limit && unit < 3; limit <<= 10 {
		value /= 1024
		unit++
	}
	return append(strconv.AppendFloat(b, value, 'f', 1, 64), "KMGT"[unit])
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
