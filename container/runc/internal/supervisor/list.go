package supervisor

import (
	"encoding/binary"
	"unsafe"
)

// Arguments of system calls that golang.org/x/sys/unix has no constants of the right type for.
const (
	atCWD      = ^uint64(99) // AT_FDCWD, -100
	sigSetMask = 2
)

// A list composes a list of system calls together with what their arguments point to, for memory that begins at base.
// The list itself comes last.
type list struct {
	base  uint64
	bytes []byte
	calls []call
}

// call appends a system call that must succeed. mark, which is positive, tells which one failed.
func (l *list) call(mark int64, number int, args ...uint64) { l.add(mark, number, args) }

// try appends a system call that may fail.
func (l *list) try(number int, args ...uint64) { l.add(-1, number, args) }

func (l *list) add(mark int64, number int, args []uint64) {
	c := call{number: int64(number), mark: mark}
	copy(c.args[:], args)
	l.calls = append(l.calls, c)
}

// put adds data, and returns where it will be.
func (l *list) put(data []byte) uint64 {
	at := l.base + uint64(len(l.bytes))
	l.bytes = append(l.bytes, data...)
	for len(l.bytes)%8 != 0 {
		l.bytes = append(l.bytes, 0)
	}
	return at
}

func (l *list) text(s string) uint64 { return l.put(append([]byte(s), 0)) }

func (l *list) words(words ...uint64) uint64 {
	var data []byte
	for _, w := range words {
		data = binary.NativeEndian.AppendUint64(data, w)
	}
	return l.put(data)
}

// texts adds an array of pointers to texts, as execve(2) takes it.
func (l *list) texts(texts []string) uint64 {
	var pointers []uint64
	for _, s := range texts {
		pointers = append(pointers, l.text(s))
	}
	return l.words(append(pointers, 0)...)
}

// finish adds the list of calls, and returns where it is.
func (l *list) finish() uint64 {
	l.add(0, callJump, nil)
	at := l.base + uint64(len(l.bytes))
	for i := range l.calls {
		l.put(bytesOf(&l.calls[i]))
	}
	return at
}

// bytesOf returns what a value without pointers looks like in memory.
func bytesOf[T call | memory | message | status](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
