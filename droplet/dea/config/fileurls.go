package config

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/directory"
)

// maxKeyFile bounds a file of keys, in bytes.
const maxKeyFile = 64 << 10

// Signer says how URLs are signed. It reads the key files, as the check of the configuration did; what is wrong with one is told
// with its key. Nil draws a key.
func (u *FileURLs) Signer() (cfg directory.SignerConfig, err error) {
	if u == nil {
		return cfg, nil
	}
	cfg.MaxAge = u.Lifetime
	for _, key := range u.Keys {
		cfg.Keys = append(cfg.Keys, string(key))
	}
	err = u.readKeys(&cfg, func(key string, err error) error { return fmt.Errorf("deakit.file_urls.%s: %w", key, err) })
	return cfg, err
}

// readKeys adds the keys of all files. It ends with the first error that failed returns, which gets the key of the configuration.
func (u *FileURLs) readKeys(cfg *directory.SignerConfig, failed func(key string, err error) error) error {
	if u.PrivateKeyFile != "" {
		err := readKey(u.PrivateKeyFile, func(text []byte) (err error) {
			cfg.PrivateKey, err = directory.ParsePrivateKey(text)
			return err
		})
		if err != nil {
			if err = failed("private_key_file", err); err != nil {
				return err
			}
		}
	}
	for i, file := range u.PublicKeyFiles {
		var keys []ed25519.PublicKey
		err := readKey(file, func(text []byte) (err error) {
			keys, err = directory.ParsePublicKeys(text)
			return err
		})
		if err != nil {
			if err = failed(fmt.Sprintf("public_key_files[%d]", i), err); err != nil {
				return err
			}
		}
		cfg.PublicKeys = append(cfg.PublicKeys, keys...)
	}
	return nil
}

// readKey reads a file and has it parsed. The error has the name of the file, and nothing of its content.
func readKey(file string, parse func([]byte) error) error {
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
		d.fail(path+".keys", d.line(path), "or private_key_file is required when host_label or public_key_files is given: the key is drawn anew otherwise")
	}
	if d.hasFailed(path+".private_key_file") || d.hasFailed(path+".public_key_files") {
		return
	}
	_ = u.readKeys(&directory.SignerConfig{}, func(key string, err error) error {
		d.fail(path+"."+key, d.line(path+"."+key), "%v", err)
		return nil // all of them are told
	})
}
