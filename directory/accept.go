package directory

import (
	"net/http"
	"strconv"
	"strings"
)

// negotiate returns the one of offers, media types, that a request likes best (RFC 9110, 12.5.1), of equals the first. So
// it returns the first, too, when the request accepts none of them or has no say: old clients send anything or nothing.
func negotiate(h http.Header, offers ...string) string {
	accept := h.Values("Accept")
	if len(accept) == 0 {
		return offers[0]
	}
	best, bestQuality := offers[0], 0.0
	for _, offer := range offers {
		if q := quality(accept, offer); q > bestQuality {
			best, bestQuality = offer, q
		}
	}
	return best
}

// quality is what the most specific range that has the media type says of it, 0 when none has.
func quality(accept []string, mediaType string) (q float64) {
	kind, _, _ := strings.Cut(mediaType, "/")
	specific := 0
	for _, list := range accept {
		for element := range strings.SplitSeq(list, ",") {
			name, parameters, _ := strings.Cut(element, ";")
			rank := 0
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case mediaType:
				rank = 3
			case kind + "/*":
				rank = 2
			case "*/*":
				rank = 1
			}
			if rank > specific {
				specific, q = rank, weight(parameters)
			}
		}
	}
	return q
}

// weight is the q among the parameters of a media range, 1 without one, and 0 if it makes no sense.
func weight(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
				return q
			}
			return 0
		}
	}
	return 1
}
