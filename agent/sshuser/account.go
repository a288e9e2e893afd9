package sshuser

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An account is a line of /etc/passwd.
type account struct {
	name     string
	uid, gid int
	home     string
}

func accounts(root *os.Root) ([]account, error) {
	data, err := readBounded(root, "/etc/passwd", maxPasswd)
	if err != nil {
		return nil, err
	}
	var all []account
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 7 {
			continue // not ours to judge
		}
		uid, errUID := strconv.Atoi(fields[2])
		gid, errGID := strconv.Atoi(fields[3])
		if errUID == nil && errGID == nil {
			all = append(all, account{fields[0], uid, gid, fields[5]})
		}
	}
	return all, lines.Err()
}

func lookup(root *os.Root, name string) (account, bool, error) {
	all, err := accounts(root)
	for _, a := range all {
		if a.name == name {
			return a, true, err
		}
	}
	return account{}, false, err
}

// authorize lets those with the key log in. What stands in the home is the user's and may lead anywhere: all is done beneath it.
func (a account) authorize(root *os.Root, key string) error {
	if a.uid == 0 {
		return errors.New("the account is that of root")
	}
	home, err := root.OpenRoot(relative(a.home))
	if err != nil {
		return err
	}
	defer home.Close()
	if err := home.Chmod(".", 0o700); err != nil {
		return err
	}
	if err := home.Mkdir(".ssh", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	ssh, err := home.OpenRoot(".ssh")
	if err != nil {
		return err
	}
	defer ssh.Close()
	if err := ssh.Chmod(".", 0o700); err != nil {
		return err
	}
	if err := ssh.Chown(".", a.uid, a.gid); err != nil {
		return err
	}
	return a.write(ssh, "authorized_keys", key)
}

// write replaces a file of the account.
func (a account) write(dir *os.Root, name, text string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chown(a.uid, a.gid), f.Close())
}

// relative makes an absolute path one below a root.
func relative(path string) string {
	if path = strings.TrimPrefix(filepath.Clean(path), "/"); path == "" {
		return "."
	}
	return path
}

func readBounded(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.Open(relative(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return data, err
}
