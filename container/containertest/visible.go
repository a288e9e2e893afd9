package containertest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// visible counts the processes on the host that have token as an argument. It is asked often, on machines with thousands of
// processes, so it makes three system calls for each and no more.
func (s *suite) visible(token string) int {
	s.Helper()
	dir, err := os.Open("/proc")
	s.must(err)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	s.must(err)
	argument := []byte("\x00" + token + "\x00")
	buf := make([]byte, 128<<10) // as much as one argument can be
	n := 0
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		fd, err := syscall.Open("/proc/"+name+"/cmdline", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue // it has ended
		}
		size, _ := syscall.Read(fd, buf) // a zombie has none
		syscall.Close(fd)
		if bytes.Contains(buf[:max(size, 0)], argument) {
			n++
		}
	}
	return n
}
