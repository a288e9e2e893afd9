package process

import "os/user"

// Environ is a clean environment: nothing of that of this process, which may hold secrets. More may change what comes
// before it.
func Environ(path, tmp string, more ...string) []string {
	home := "/"
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		home = u.HomeDir
	}
	return append([]string{"PATH=" + path, "TMPDIR=" + tmp, "HOME=" + home}, more...)
}
