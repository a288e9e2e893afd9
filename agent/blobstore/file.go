package blobstore

import (
	"os"

	"github.com/deakit/deakit/internal/atomicfile"
)

// A File is a temporary file with a blob. Close closes and removes it; whoever got the file closes it in every case.
type File struct{ *os.File }

func newFile(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, atomicfile.TempPrefix+"*")
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Close may be called again.
func (f *File) Close() error {
	_ = f.File.Close() // of a file that nobody reads any more
	err := os.Remove(f.Name())
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
