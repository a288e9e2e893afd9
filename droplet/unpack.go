package droplet

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/internal/tarball"
)

// UnpackOptions are the options of [Unpack]. The zero value refuses whatever could leave the target directory.
type UnpackOptions struct {
	Limits Limits

	// AbsoluteLinks allows symbolic links with absolute targets: buildpacks make them, for the paths inside the
	// container. Only allow them where whoever reads the files later goes through os.Root, or sees a root of its own.
	AbsoluteLinks bool
}

// Unpack extracts the droplet r, of either format, below the directory dir of root, which it makes if need be (mode
// 0755); a leading slash means root. It refuses hostile members with a [*MemberError] and what cannot be read to its
// very end with ErrFormat or ErrDamaged; what came before stays. Existing files are replaced, never written through.
// Owners in the droplet are ignored; all belongs to the user of this process.
//
// r is read ahead; when Unpack returns nobody reads it any more. Where reading r may block, close r to interrupt
// Unpack: ctx is looked at between chunks.
func Unpack(ctx context.Context, r io.Reader, root *os.Root, dir string, opts UnpackOptions) error {
	plain, _, err := open(ctx, r, opts.Limits)
	if err != nil {
		return err
	}
	defer plain.Close()
	err = tarball.Extract(ctx, root, dir, plain, tarball.ExtractOptions{
		Limits:        tarball.Limits(opts.Limits),
		AbsoluteLinks: opts.AbsoluteLinks,
	})
	if err != nil {
		return fmt.Errorf("unpack droplet: %w", judged(err))
	}
	return nil
}
