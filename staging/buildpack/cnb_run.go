package buildpack

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

const maxListing = 4 << 20 // bytes of the names of files that matter

// shell runs a script of ours in the container, and returns what it wrote. Where the script fails, it is for what buildpacks
// have left, or for want of disk: a ScriptError.
func (s *cnbBuild) shell(ctx context.Context, script string, args ...string) ([]byte, error) {
	var out capped
	var errs tail
	spec := container.ProcessSpec{Path: "sh", Args: append([]string{"-c", script, "sh"}, args...), Dir: "/tmp"}
	status, err := runProgram(ctx, s.Build, "sh", spec, container.IO{Stdout: &out, Stderr: &errs})
	switch {
	case err != nil:
		return nil, err
	case out.over:
		return nil, fmt.Errorf("%w: layers with more files than anyone can look at", cnb.ErrTooLarge)
	case status != 0:
		err := fmt.Errorf("what the buildpacks left cannot be handled: status %d: %s", status, strings.TrimSpace(string(errs.kept)))
		return nil, &ScriptError{Script: "sh", Status: status, Err: err}
	}
	return out.kept.Bytes(), nil
}

// capped keeps at most maxListing bytes.
type capped struct {
	kept bytes.Buffer // not embedded: its ReadFrom has no limit
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.over = c.over || c.kept.Len()+len(p) > maxListing; !c.over {
		c.kept.Write(p)
	}
	return len(p), nil
}

// cnbListing tells what is in directories of layers, and copies the small files that matter to one place.
//
//go:embed cnb_listing.sh
var cnbListing string

const (
	maxTexts     = 32 << 20 // bytes of all files that matter
	cnbDir       = "/tmp/cnb"
	cnbTextsDir  = cnbDir + "/texts"
	cnbPlatform  = cnbDir + "/platform"
	cnbPlans     = cnbDir + "/plans"
	cnbCacheName = "cnb" // in Build.CacheDir
)

// list returns what matters of directories of layers, in their order. One that does not exist is empty.
func (s *cnbBuild) list(ctx context.Context, dirs ...string) ([]cnb.Tree, error) {
	listing, err := s.shell(ctx, cnbListing, s.inside(append([]string{cnbTextsDir}, dirs...)...)...)
	if err != nil {
		return nil, err
	}
	texts, err := s.texts(ctx)
	if err != nil {
		return nil, err
	}
	trees := make([]cnb.Tree, len(dirs))
	for i := range trees {
		trees[i] = cnb.Tree{}
	}
	for record := range strings.SplitSeq(strings.TrimSuffix(string(listing), "\x00"), "\x00") {
		parts := strings.SplitN(record, "/", 4) // tree, kind, copy, name
		if len(parts) < 4 {
			continue
		}
		tree, err := strconv.Atoi(parts[0])
		if err != nil || tree < 0 || tree >= len(trees) {
			return nil, fmt.Errorf("the container's sh wrote what it was not told to: %.60q", record)
		}
		node := cnb.Node{Dir: strings.Contains(parts[1], "d"), Link: strings.Contains(parts[1], "l")}
		if parts[2] != "" {
			node.Text = texts[path.Join(parts[2], path.Base(parts[3]))]
		}
		trees[tree][path.Clean(parts[3])] = node
	}
	return trees, nil
}

// texts returns the files that the listing has copied, by the names of directory and file.
func (s *cnbBuild) texts(ctx context.Context) (map[string][]byte, error) {
	stream, err := s.Container.StreamOut(ctx, cnbTextsDir+"/")
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	texts := map[string][]byte{}
	left := int64(maxTexts)
	for members := tar.NewReader(stream); ; {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			return texts, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if left -= header.Size; left < 0 {
			return nil, fmt.Errorf("%w: environment and metadata of layers of more than %d bytes", cnb.ErrTooLarge, maxTexts)
		}
		if texts[path.Clean(header.Name)], err = io.ReadAll(members); err != nil {
			return nil, err
		}
	}
}
