package directory

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"

	"golang.org/x/sys/unix"
)

// The media types of a listing. The first is what clients expect that do not ask for another (dea_ng); it has no charset.
const (
	typeText = "text/plain"
	typeJSON = "application/json"
	typeHTML = "text/html"
)

// An app fills a directory for nothing, and has as many clients as it likes, which accept the listing slowly. So there is a bound
// on how many listings of more than few entries are made at a time, and on the bytes of listings that wait for their clients,
// where those of up to smallFile do not count.
const (
	few          = 4096
	crowds       = 2
	heldListings = 256 << 20
)

// A listingKey tells which requests may share a listing.
type listingKey struct {
	dev, ino  uint64
	owner     credentials
	mediaType string
	title     string // of a page; else empty
}

// directory answers with the entries of a directory or all that is in it, and closes it.
func (s *Server) directory(w http.ResponseWriter, r *http.Request, h *handle, want wishes) {
	defer h.close()
	w.Header()["X-Content-Type-Options"] = nosniff
	w.Header().Add("Vary", "Accept, User-Agent")
	switch mediaType := representation(r, want.archive); mediaType {
	case typeZip, typeTgz:
		s.archive(w, r, h, mediaType)
	default:
		s.list(w, r, h, mediaType)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, h *handle, mediaType string) {
	title := ""
	if mediaType == typeHTML {
		asked, _ := Asked(r.URL.RawQuery)
		title = path.Clean("/" + asked)
	}
	body, err := s.listing(r.Context(), h, mediaType, title)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if size := min(int64(len(body)), heldListings); size > smallFile {
		if !s.held.TryAcquire(size) {
			tryLater(w, "Too many listings are being sent")
			return
		}
		defer s.held.Release(size)
	}
	header := w.Header()
	switch mediaType {
	case typeText:
		header["Content-Type"] = plainText
	case typeJSON:
		header.Set("Content-Type", typeJSON)
	case typeHTML:
		header.Set("Content-Type", typeHTML+"; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	}
	send(w, r, body)
}

func (s *Server) listing(ctx context.Context, h *handle, mediaType, title string) ([]byte, error) {
	key := listingKey{uint64(h.stat.Dev), h.stat.Ino, h.owner, mediaType, title}
	return s.listings.do(ctx, key, func() ([]byte, error) {
		return s.makeListing(h, mediaType, title)
	})
}

func (s *Server) makeListing(h *handle, mediaType, title string) ([]byte, error) {
	entries, err := h.entries(min(few, s.maxEntries), mediaType != typeText)
	if large := (*tooLarge)(nil); errors.As(err, &large) && few < s.maxEntries {
		s.crowds <- struct{}{} // which comes soon: nobody waits for a client meanwhile
		defer func() { <-s.crowds }()
		entries, err = h.entries(s.maxEntries, mediaType != typeText)
	}
	if err != nil {
		return nil, err
	}
	switch mediaType {
	case typeJSON:
		return listJSON(entries)
	case typeHTML:
		return listHTML(entries, title)
	}
	return listText(entries), nil
}

// entries are all of a directory, which is read from its beginning: see readEntries.
func (h *handle) entries(limit int, times bool) (entries []entry, err error) {
	if _, err := unix.Seek(h.fd, 0, io.SeekStart); err != nil {
		return nil, err
	}
	err = h.owner.do(func() (err error) {
		entries, err = readEntries(h.fd, limit, times)
		return err
	})
	return entries, err
}
