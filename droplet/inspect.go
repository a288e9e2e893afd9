package droplet

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/deakit/deakit/internal/tarball"
)

// A Summary is what a droplet is found to be. [Inspect] fills in Format and Info, [Verify] all of it.
type Summary struct {
	Format Format

	// Info is what staging wrote down: start command, process types, buildpacks. Nil means that there is no
	// staging_info.yml, and that the droplet is of the old kind, which starts with ./startup (dea_ng).
	Info *StagingInfo

	Digest  Digest
	Members int   // of the archive, directories and links included
	Bytes   int64 // content of all files
}

// Inspect finds out what the droplet r is without unpacking it. It reads no further than staging_info.yml, which stands
// at the beginning of what [Pack] makes, and at any place in other droplets. ctx is looked at between chunks.
func Inspect(ctx context.Context, r io.Reader, limits Limits) (Summary, error) {
	info, format, err := findInfo(ctx, r, limits)
	if err != nil || info == nil {
		return Summary{Format: format}, err
	}
	parsed, err := ParseInfo(info.data)
	return Summary{Format: format, Info: &parsed}, err
}

// ReadInfo is [Inspect] for those who want staging_info.yml alone. A droplet without it gives ErrNoInfo.
func ReadInfo(ctx context.Context, r io.Reader, limits Limits) (StagingInfo, error) {
	summary, err := Inspect(ctx, r, limits)
	if err != nil {
		return StagingInfo{}, err
	}
	if summary.Info == nil {
		return StagingInfo{}, ErrNoInfo
	}
	return *summary.Info, nil
}

// An infoMember is staging_info.yml in a droplet.
type infoMember struct {
	header *tar.Header
	data   []byte
}

// findInfo returns staging_info.yml, nil if there is none.
func findInfo(ctx context.Context, r io.Reader, limits Limits) (*infoMember, Format, error) {
	plain, format, err := open(ctx, r, limits)
	if err != nil {
		return nil, 0, err
	}
	defer plain.Close()
	tr := tar.NewReader(plain)
	for members := 1; ; members++ {
		hdr, err := tr.Next()
		if err == io.EOF {
			return nil, format, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // nothing is written under that name here
			return nil, 0, fmt.Errorf("read droplet: %w", judged(err))
		}
		if most := tarball.Limits(limits).WithDefaults().MaxMembers; members > most {
			return nil, 0, &MemberError{Reason: ErrLimit, Detail: fmt.Sprintf("more than %d members", most)}
		}
		if isInfo(hdr) {
			data, err := readInfo(tr)
			return &infoMember{hdr, data}, format, err
		}
	}
}

func isInfo(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeReg && path.Clean(hdr.Name) == InfoName
}

// readInfo reads the content of staging_info.yml, and one byte more than MaxInfoBytes at most, which ParseInfo refuses.
func readInfo(content io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(content, MaxInfoBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read droplet: %w", judged(err))
	}
	return data, nil
}
