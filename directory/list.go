package directory

import (
	"context"
	"net/http"
)

// The media types of a listing. The first is what clients expect that do not ask for another (dea_ng); it has no charset.
const (
	typeText = "text/plain"
	typeJSON = "application/json"
	typeHTML = "text/html"
)

// A listingKey tells which requests may share a listing.
type listingKey struct {
	dev, ino  uint64
	owner     credentials
	mediaType string
}

// directory answers with the entries of a directory or all that is in it, and closes it.
func (s *Server) directory(w http.ResponseWriter, r *http.Request, h *handle) {
	defer h.close()
	w.Header()["X-Content-Type-Options"] = nosniff
	w.Header().Add("Vary", "Accept, User-Agent")
	switch mediaType := representation(r); mediaType {
	case typeZip, typeTgz:
		s.archive(w, r, h, mediaType)
	default:
		s.list(w, r, h, mediaType)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, h *handle, mediaType string) {
	body, err := s.listing(r.Context(), h, mediaType)
	if err != nil {
		s.refuse(w, r, err)
		return
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

func (s *Server) listing(ctx context.Context, h *handle, mediaType string) ([]byte, error) {
	key := listingKey{uint64(h.stat.Dev), h.stat.Ino, h.owner, mediaType}
	return s.listings.do(ctx, key, func() ([]byte, error) {
		var entries []entry
		err := h.owner.do(func() (err error) {
			entries, err = readEntries(h.fd, s.maxEntries, mediaType != typeText)
			return err
		})
		if err != nil {
			return nil, err
		}
		switch mediaType {
		case typeJSON:
			return listJSON(entries)
		case typeHTML:
			return listHTML(entries)
		}
		return listText(entries), nil
	})
}
