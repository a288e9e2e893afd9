// Package tlsfiles keeps a certificate, its key and the authorities to trust as files have them, also when those are
// renewed while a program runs.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Files names PEM files. Key and Cert are required; without a CA there are no authorities.
type Files struct {
	Key, Cert, CA string
}

// A MissingError names the files that are not there. It is an fs.ErrNotExist.
type MissingError struct{ Files []string }

func (e *MissingError) Error() string {
	return "One or more files not found: " + strings.Join(e.Files, ", ")
}

func (e *MissingError) Unwrap() error { return fs.ErrNotExist }

// Material is what the files held at one moment. It does not change.
type Material struct {
	Certificate tls.Certificate
	CA          *x509.CertPool // nil when there is no CA file
}

// A Source reads files anew when they change. It may be used from any goroutine.
type Source struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex
	now     *Material
	read    stamp // of the files when now was read
	refused stamp // of files that could not be used and were complained of
}

// Open reads the files. It fails with a *MissingError, or says which file cannot be used.
func Open(files Files, log *slog.Logger) (*Source, error) {
	if files.Key == "" || files.Cert == "" {
		return nil, errors.New("a key file and a certificate file must both be named")
	}
	missing := &MissingError{}
	for _, name := range files.names() {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			missing.Files = append(missing.Files, name)
		}
	}
	if len(missing.Files) > 0 {
		return nil, missing
	}
	s := &Source{files: files, log: log, read: files.stamp()}
	var err error
	s.now, err = files.load()
	return s, err
}

// Current returns what the files hold now. While they cannot be used, because a renewal is half done for example, it
// goes on returning what they held before, and says so in the log once for each state of the files. As long as the
// files stay as they are, so does the pointer.
func (s *Source) Current() *Material {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.files.stamp()
	if found == s.read {
		return s.now
	}
	renewed, err := s.files.load()
	if err != nil {
		if found != s.refused {
			s.refused = found
			s.log.Warn("tls.files.unusable", "error", err, "kept", "what the files held before")
		}
		return s.now
	}
	s.now, s.read = renewed, found
	s.log.Info("tls.files.renewed", "certificate", s.files.Cert)
	return s.now
}

func (f Files) names() []string {
	if f.CA == "" {
		return []string{f.Key, f.Cert}
	}
	return []string{f.Key, f.Cert, f.CA}
}

func (f Files) load() (*Material, error) {
	certificate, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	if f.CA == "" {
		return &Material{Certificate: certificate}, nil
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no certificate in PEM form", f.CA)
	}
	return &Material{Certificate: certificate, CA: pool}, nil
}

// A stamp tells one state of the files from another. Time and size are not enough: tools that give all files one time are
// common, and certificates of one kind have one size.
type stamp [3]struct {
	modified time.Time
	size     int64
	inode    uint64
}

// stamp looks at the files as they are. One that cannot be looked at has a zero stamp; reading it will tell why.
func (f Files) stamp() stamp {
	var s stamp
	for i, name := range f.names() {
		if info, err := os.Stat(name); err == nil {
			s[i].modified, s[i].size = info.ModTime(), info.Size()
			if file, ok := info.Sys().(*syscall.Stat_t); ok {
				s[i].inode = file.Ino
			}
		}
	}
	return s
}
