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

// ErrNotDroplet: the archive has neither staging_info.yml nor ./startup, one of which every droplet has at its root.
var ErrNotDroplet = errors.New("no droplet: it has neither " + InfoName + " nor ./" + startupName + " at its root")

// startupName is the script with which droplets of the old kind start (dea_ng).
const startupName = "startup"

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
// at the beginning of what [Pack] makes, and at any place in other droplets. Any other archive fails with ErrNotDroplet. ctx is
// looked at between chunks.
func Inspect(ctx context.Context, r io.Reader, limits Limits) (Summary, error) {
	found, err := findInfo(ctx, r, limits)
	switch {
	case err != nil:
		return Summary{Format: found.format}, err
	case found.info == nil && !found.startup:
		return Summary{Format: found.format}, ErrNotDroplet
	case found.info == nil:
		return Summary{Format: found.format}, nil
	}
	parsed, err := ParseInfo(found.info.data)
	return Summary{Format: found.format, Info: &parsed}, err
}

// ReadInfo is [Inspect] for those who want staging_info.yml alone. Whatever does not have it gives ErrNoInfo.
func ReadInfo(ctx context.Context, r io.Reader, limits Limits) (StagingInfo, error) {
	found, err := findInfo(ctx, r, limits)
	switch {
	case err != nil:
		return StagingInfo{}, err
	case found.info == nil:
		return StagingInfo{}, ErrNoInfo
	}
	return ParseInfo(found.info.data)
}

// An infoMember is staging_info.yml in a droplet.
type infoMember struct {
	header *tar.Header
	data   []byte
}

// A finding is what findInfo finds.
type finding struct {
	format  Format
	info    *infoMember // nil if there is none
	startup bool        // without info: whether there is ./startup
}

// findInfo looks for staging_info.yml.
func findInfo(ctx context.Context, r io.Reader, limits Limits) (found finding, err error) {
	plain, format, err := open(ctx, r, limits)
	if err != nil {
		return found, err
	}
	defer plain.Close()
	found.format = format
	tr := tar.NewReader(plain)
	for members := 1; ; members++ {
		hdr, err := tr.Next()
		if err == io.EOF {
			return found, nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // nothing is written under that name here
			return found, fmt.Errorf("read droplet: %w", judged(err))
		}
		if most := tarball.Limits(limits).WithDefaults().MaxMembers; members > most {
			return found, &MemberError{Reason: ErrLimit, Detail: fmt.Sprintf("more than %d members", most)}
		}
		if isInfo(hdr) {
			data, err := readInfo(tr)
			found.info = &infoMember{hdr, data}
			return found, err
		}
		found.startup = found.startup || isStartup(hdr)
	}
}

func isInfo(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeReg && path.Clean(hdr.Name) == InfoName
}

// isStartup tells of the script of the old kind, which may be a link as well.
func isStartup(hdr *tar.Header) bool {
	return hdr.Typeflag != tar.TypeDir && path.Clean(hdr.Name) == startupName
}

// readInfo reads the content of staging_info.yml, and one byte more than MaxInfoBytes at most, which ParseInfo refuses.
func readInfo(content io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(content, MaxInfoBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read droplet: %w", judged(err))
	}
	return data, nil
}
