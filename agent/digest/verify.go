package digest

import (
	"fmt"
	"io"
	"os"
)

// A MismatchError says that content is not what its digest promised. Its text is that of the original (bosh-utils).
type MismatchError struct{ Expected, Actual Part }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("Expected stream to have digest '%s' but was '%s'", e.Expected, e.Actual)
}

// An UnknownError names a digest of which no algorithm is known here, so that nothing can be verified by it.
type UnknownError struct{ Digest Digest }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("unable to verify by '%s': unknown algorithm. Supported algorithms: sha1, sha256, sha512", e.Digest)
}

// A Verifier checks what is written to it.
type Verifier struct {
	want Part
	got  *Writer
}

// NewVerifier checks by the strongest part. It fails with [ErrNone] for the zero digest, or with an [*UnknownError].
func (d Digest) NewVerifier() (*Verifier, error) {
	if d.IsZero() {
		return nil, ErrNone
	}
	want, ok := d.Strongest()
	if !ok {
		return nil, &UnknownError{d}
	}
	return &Verifier{want, NewWriter(want.Algorithm)}, nil
}

// Write never fails.
func (v *Verifier) Write(p []byte) (int, error) { return v.got.Write(p) }

// Check says whether all that was written so far has the digest; if not, it is a [*MismatchError].
func (v *Verifier) Check() error {
	if got := v.got.Digest().parts[0]; got != v.want {
		return &MismatchError{Expected: v.want, Actual: got}
	}
	return nil
}

// Verify reads r to its end and checks it.
func (d Digest) Verify(r io.Reader) error {
	v, err := d.NewVerifier()
	if err != nil {
		return err
	}
	if _, err := io.Copy(v, r); err != nil {
		return fmt.Errorf("verify digest: %w", err)
	}
	return v.Check()
}

// VerifyFile checks the content of a file.
func (d Digest) VerifyFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("verify digest: %w", err)
	}
	defer f.Close()
	return d.Verify(f)
}
