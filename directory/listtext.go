package directory

import (
	"strconv"
	"unicode/utf8"
)

// Layout of a listing in text (dea_ng): the name in 35 columns, a blank, the size in 10 columns.
const (
	nameWidth = 35
	sizeWidth = 10
)

func listText(entries []entry) []byte {
	size := 0
	for i := range entries {
		size += max(nameWidth, len(entries[i].name)+1) + sizeWidth + 2
	}
	b := make([]byte, 0, size)
	for i := range entries {
		b = appendEntry(b, entries[i].name, entries[i].size, entries[i].isDir())
	}
	return b
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
