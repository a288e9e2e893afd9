package config

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/internal/edkey"
)

// maxKeyFile bounds a file of keys, in bytes.
const maxKeyFile = 64 << 10

// URLKeys sign and check URLs.
type URLKeys struct {
	Texts   []string           // the first signs, unless there is a Private
	Private ed25519.PrivateKey // nil: there is none
	Public  []ed25519.PublicKey
}

// ReadKeys reads the key files, as the check of the configuration did; what is wrong with one is told with its key. Nil has none.
func (u *FileURLs) ReadKeys() (keys URLKeys, err error) {
	if u == nil {
		return keys, nil
	}
	for _, key := range u.Keys {
		keys.Texts = append(keys.Texts, string(key))
	}
	err = u.readFiles(&keys, func(key string, err error) error { return fmt.Errorf("deakit.file_urls.%s: %w", key, err) })
	return keys, err
}

// readFiles adds the keys of all files. It ends with the first error that failed returns, which gets the key of the configuration.
func (u *FileURLs) readFiles(keys *URLKeys, failed func(key string, err error) error) error {
	if u.PrivateKeyFile != "" {
		err := readKey(u.PrivateKeyFile, func(text []byte) (err error) {
			keys.Private, err = edkey.Private(text)
			return err
		})
		if err != nil {
			if err = failed("private_key_file", err); err != nil {
				return err
			}
		}
	}
	for i, file := range u.PublicKeyFiles {
		var public []ed25519.PublicKey
		err := readKey(file, func(text []byte) (err error) {
			public, err = edkey.Public(text)
			return err
		})
		if err != nil {
			if err = failed(fmt.Sprintf("public_key_files[%d]", i), err); err != nil {
				return err
			}
		}
		keys.Public = append(keys.Public, public...)
	}
	return nil
}

// readKey reads a file and has it parsed. The error has the whole name of the file, which may be given relative to the working
// directory, and nothing of its content.
func readKey(file string, parse func([]byte) error) error {
	if whole, err := filepath.Abs(file); err == nil {
		file = whole
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxKeyFile:
		return fmt.Errorf("%s: is too large for a key", file)
	}
	if err := parse(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// checkFileURLs sees that URLs outlive the process, if that is what is wanted.
func (d *decoder) checkFileURLs(u *FileURLs) {
	const path = "deakit.file_urls"
	if u == nil || d.hasFailed(path) {
		return
	}
	signs := len(u.Keys) > 0 || u.PrivateKeyFile != ""
	switch {
	case signs && u.HostLabel == "":
		d.fail(path+".host_label", d.line(path), "is required when keys or private_key_file is given: URLs go by their host name, which is drawn anew otherwise")
	case !signs && (u.HostLabel != "" || len(u.PublicKeyFiles) > 0):
		d.fail(path+".keys", d.line(path), "is required, or private_key_file in its place, when host_label or public_key_files is given: the key is drawn anew otherwise")
	}
	if d.hasFailed(path+".private_key_file") || d.hasFailed(path+".public_key_files") {
		return
	}
	_ = u.readFiles(new(URLKeys), func(key string, err error) error {
		d.fail(path+"."+key, d.line(path+"."+key), "%v", err)
		return nil // all of them are told
	})
}

// settleLifetime warns of a 0, which could be taken for "for ever".
func (d *decoder) settleLifetime(lifetime time.Duration) {
	const path = "deakit.file_urls.lifetime"
	if line, ok := d.given[path]; ok && lifetime == 0 && !d.hasFailed(path) {
		d.warn(path, line, "is 0, which stands for 3600 seconds")
	}
}
