package framework

import (
	"context"
	"io/fs"
)

// An endingFS is a file system that fails as soon as a context has ended. A search for what costly patterns name, in an app of
// many files, takes minutes: whoever searches it gets errors then, and has to look at the context before believing the result.
type endingFS struct {
	ctx context.Context
	fs.FS
}

// Open implements [fs.FS].
func (f endingFS) Open(name string) (fs.File, error) {
	if f.ctx.Err() != nil {
		return nil, context.Cause(f.ctx)
	}
	return f.FS.Open(name)
}

// Stat implements [fs.StatFS].
func (f endingFS) Stat(name string) (fs.FileInfo, error) {
	if f.ctx.Err() != nil {
		return nil, context.Cause(f.ctx)
	}
	return fs.Stat(f.FS, name)
}

// ReadDir implements [fs.ReadDirFS].
func (f endingFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.ctx.Err() != nil {
		return nil, context.Cause(f.ctx)
	}
	return fs.ReadDir(f.FS, name)
}
