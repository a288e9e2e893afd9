package directory

import (
	"bufio"
	"context"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
)

// The media types of a directory as an archive. A query "archive=zip" or "archive=tgz" asks for them, too.
const (
	typeZip = "application/zip"
	typeTgz = "application/gzip"
)

// archiveTypes are what archive= may be.
var archiveTypes = map[string]string{"zip": typeZip, "tgz": typeTgz}

// errTooLarge ends an archive that would be larger than it may be.
var errTooLarge = &tooLarge{"the archive would be larger than allowed"}

// representation returns the media type in which a request wants a directory.
func representation(r *http.Request, archive *string) string {
	if archive != nil {
		return archiveTypes[*archive]
	}
	// The cf CLI asks for JSON wherever the Cloud Controller sends it on to, and reads the text (cloudfoundry/cli cf/net).
	if strings.HasPrefix(r.UserAgent(), "go-cli ") {
		return typeText
	}
	return negotiate(r.Header, typeText, typeJSON, typeHTML, typeZip, typeTgz)
}

// archive answers with all files of a directory and of those below it, as they are read. Links, special files, other file
// systems and what may not be read are left out.
func (s *Server) archive(w http.ResponseWriter, r *http.Request, h *handle, mediaType string) {
	header := w.Header()
	name := archiveName(r) + map[string]string{typeZip: ".zip", typeTgz: ".tgz"}[mediaType]
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	header.Set("Content-Type", mediaType)
	if r.Method == http.MethodHead {
		return
	}
	select {
	case s.archives <- struct{}{}:
		defer func() { <-s.archives }()
	default:
		header.Del("Content-Disposition")
		tryLater(w, "Too many archives are being made")
		return
	}
	s.pack(w, r, h, mediaType)
}

// pack sends the archive, or tells why there is none while it can.
func (s *Server) pack(w http.ResponseWriter, r *http.Request, h *handle, mediaType string) {
	turns := &turnWriter{ctx: r.Context(), turns: s.packing, to: newPatientWriter(w)}
	turns.to.stall = s.idle
	defer turns.to.end()
	defer turns.give()
	if err := turns.take(); err != nil {
		s.report(r, slog.LevelDebug, "", err)
		return // nobody listens
	}
	buffered := bufio.NewWriterSize(turns, smallFile) // so that what fails at once can still be told
	pack := newTgz
	if mediaType == typeZip {
		pack = newZip
	}
	a := archiver{
		ctx: r.Context(), owner: h.owner, dev: uint64(h.stat.Dev),
		entries: s.maxEntries, names: maxNames, bytes: s.maxArchive, to: pack(buffered),
	}
	err := a.directory(h.fd, "", 0)
	if err == nil {
		err = a.to.close()
	}
	if err == nil {
		err = buffered.Flush()
	}
	switch {
	case err != nil && !turns.to.begun:
		w.Header().Del("Content-Disposition")
		s.refuse(w, r, err)
	case err != nil:
		level := slog.LevelWarn
		if r.Context().Err() != nil {
			level = slog.LevelDebug
		}
		s.report(r, level, "directory archive was not finished", err)
		panic(http.ErrAbortHandler) // the client sees that the end is missing
	}
}

// archiveName is the last part of the path that was asked for or, for the root, the id of the instance or task.
func archiveName(r *http.Request) string {
	asked, _ := Asked(r.URL.RawQuery)
	if name := path.Base(path.Clean("/" + asked)); name != "/" {
		return name
	}
	if name := path.Base(strings.TrimSuffix(r.URL.Path, stagingSuffix)); name != "/" && name != "." {
		return name
	}
	return "files"
}

// A turnWriter gives its turn to pack to another archive while it waits for the client.
type turnWriter struct {
	ctx   context.Context
	turns chan struct{} // holds a value for each that packs
	mine  bool
	to    *patientWriter
}

func (t *turnWriter) Write(b []byte) (int, error) {
	t.give()
	n, err := t.to.Write(b)
	if err == nil {
		err = t.take()
	}
	return n, err
}

// take fails when the client is gone.
func (t *turnWriter) take() error {
	select {
	case t.turns <- struct{}{}:
		t.mine = true
		return t.ctx.Err()
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
}

func (t *turnWriter) give() {
	if t.mine {
		t.mine = false
		<-t.turns
	}
}
