package runc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// handles draws handles of the form that Warden gives, 11 characters 0-9 and a-v, none of them twice in a depot. As
// Warden's they tell the time, in microseconds; but the last one is written down, so that they grow whatever the clock
// does, after a restart too.
type handles struct {
	file *os.File // of the depot, in which the last number is; empty in the beginning

	mu   sync.Mutex
	last uint64
}

// maxHandle is the last number that has 11 digits to the base 32: a time in the year 3111.
const maxHandle = 1<<55 - 1

// read looks for the last number.
func (h *handles) read() error {
	var buf [8]byte
	switch _, err := h.file.ReadAt(buf[:], 0); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	h.last = binary.BigEndian.Uint64(buf[:])
	if h.last > maxHandle {
		return fmt.Errorf("%s does not hold the last handle: empty it", h.file.Name())
	}
	return nil
}

// draw returns a new handle, which is written down.
func (h *handles) draw() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := max(uint64(max(time.Now().UnixMicro(), 0)), h.last+1)
	if next > maxHandle {
		return "", errors.New("draw a handle: the clock is wrong, or all were drawn")
	}
	if _, err := h.file.WriteAt(binary.BigEndian.AppendUint64(nil, next), 0); err != nil {
		return "", fmt.Errorf("draw a handle: %w", err)
	}
	h.last = next
	return formatHandle(next), nil
}

// formatHandle writes a number with 11 digits to the base 32.
func formatHandle(n uint64) string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	var out strings.Builder
	for shift := 50; shift >= 0; shift -= 5 {
		out.WriteByte(digits[n>>shift&31])
	}
	return out.String()
}
