package blobstore

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
)

// Encrypted keeps blobs in another store as the Ruby client does with an encryption_key for S3: AES-128 in CBC mode, its key the
// first 16 bytes of the SHA-1 of the option, its first block chained to zeros. It is for buckets that are so already: nothing
// in it tells of changes, for which there are the digests, and equal beginnings of blobs stay equal.
type Encrypted struct {
	Store
	block cipher.Block
}

// NewEncrypted returns a store for what is encrypted in inner.
func NewEncrypted(inner Store, key string) *Encrypted {
	sum := sha1.Sum([]byte(key))
	block, err := aes.NewCipher(sum[:aes.BlockSize])
	if err != nil {
		panic(err) // of a key with 16 bytes there is always one
	}
	return &Encrypted{inner, block}
}

// ErrCipher: a blob was not encrypted, or not with this key.
var ErrCipher = errors.New("blob is not encrypted with this encryption_key")

var zeros [aes.BlockSize]byte

// Get fails with [ErrCipher] when the end of a blob tells that the key is another one.
func (e *Encrypted) Get(ctx context.Context, id string, w io.Writer) error {
	opened := &opening{w: w, mode: cipher.NewCBCDecrypter(e.block, zeros[:])}
	err := e.Store.Get(ctx, id, opened)
	if err == nil {
		err = opened.end()
	}
	if errors.Is(err, ErrCipher) {
		err = fmt.Errorf("fetch blob %s: %w", id, err)
	}
	return err
}

// Put encrypts what r holds while it is read.
func (e *Encrypted) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	size, err := rewind(r)
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return e.Store.Put(ctx, id, &closing{r: r, size: size, block: e.block, mode: cipher.NewCBCEncrypter(e.block, zeros[:])})
}

// An opening is what a blob is written to. It holds the last block back, whose end is filling.
type opening struct {
	w    io.Writer
	mode cipher.BlockMode
	rest []byte // is encrypted
}

func (o *opening) Write(p []byte) (int, error) {
	o.rest = append(o.rest, p...)
	whole := (len(o.rest) - 1) / aes.BlockSize * aes.BlockSize
	if whole <= 0 {
		return len(p), nil
	}
	o.mode.CryptBlocks(o.rest[:whole], o.rest[:whole])
	if _, err := o.w.Write(o.rest[:whole]); err != nil {
		return 0, err
	}
	o.rest = append(o.rest[:0], o.rest[whole:]...)
	return len(p), nil
}

func (o *opening) end() error {
	if len(o.rest) != aes.BlockSize {
		return ErrCipher
	}
	o.mode.CryptBlocks(o.rest, o.rest)
	n := int(o.rest[aes.BlockSize-1])
	if n == 0 || n > aes.BlockSize || !bytes.Equal(o.rest[aes.BlockSize-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return ErrCipher
	}
	_, err := o.w.Write(o.rest[:aes.BlockSize-n])
	return err
}

// A closing is a blob as it is stored. It is read from its beginning to its end, as often as somebody seeks the beginning.
type closing struct {
	r     io.ReadSeeker
	size  int64 // of r
	block cipher.Block

	mode  cipher.BlockMode
	ready []byte // is encrypted, and not read yet
	ended bool   // the filling is among what is ready
	chunk [32 << 10]byte
}

func (c *closing) Seek(offset int64, whence int) (int64, error) {
	switch {
	case offset == 0 && whence == io.SeekEnd:
		return (c.size/aes.BlockSize + 1) * aes.BlockSize, nil
	case offset != 0 || whence != io.SeekStart:
		return 0, fmt.Errorf("seek in what is encrypted: %w", errors.ErrUnsupported)
	}
	c.mode, c.ready, c.ended = cipher.NewCBCEncrypter(c.block, zeros[:]), nil, false
	return c.r.Seek(0, io.SeekStart)
}

func (c *closing) Read(p []byte) (int, error) {
	if len(c.ready) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

func (c *closing) fill() error {
	n, err := io.ReadFull(c.r, c.chunk[:len(c.chunk)-aes.BlockSize])
	c.ready = c.chunk[:n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		c.ended, err = true, nil
		filling := aes.BlockSize - n%aes.BlockSize
		c.ready = append(c.ready, bytes.Repeat([]byte{byte(filling)}, filling)...)
	}
	if err != nil {
		return err
	}
	c.mode.CryptBlocks(c.ready, c.ready)
	return nil
}
