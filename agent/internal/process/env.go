package process

import (
	"os"
	"os/user"
	"strconv"
)

// Environ is a clean environment: nothing of that of this process, which may hold secrets. More may change what comes
// before it.
func Environ(path, tmp string, more ...string) []string {
	return append([]string{"PATH=" + path, "TMPDIR=" + tmp, "HOME=" + home()}, more...)
}

// home is the home directory of the user of this process. Whoever starts daemons often has not told them.
func home() string {
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil && u.HomeDir != "" {
		return u.HomeDir
	}
	if dir, err := os.UserHomeDir(); err == nil && dir != "" {
		return dir
	}
	return "/"
}
