package logging

import (
	"runtime"
	"strconv"
	"strings"
)

// A site is a place of the program that logs, rendered as JSON.
type site struct {
	source string // name of the package, quoted
	place  string // file, lineno and method, each with a comma before it
}

// site finds the place of a program counter. Looking it up costs more than writing the line, so it is kept.
func (h *StenoHandler) site(pc uintptr) site {
	if known, ok := h.sites.Load(pc); ok {
		return known.(site)
	}
	frame := runtime.Frame{}
	if pc != 0 {
		frame, _ = runtime.CallersFrames([]uintptr{pc}).Next()
	}
	s := newSite(frame)
	h.sites.Store(pc, s)
	return s
}

// newSite splits a name like "example.com/droplet/dea.(*DEA).Run" into the package's name and the method.
func newSite(frame runtime.Frame) site {
	name := frame.Function[strings.LastIndexByte(frame.Function, '/')+1:]
	source, method, _ := strings.Cut(name, ".")
	place := appendString([]byte(`,"file":`), frame.File)
	place = strconv.AppendInt(append(place, `,"lineno":`...), int64(frame.Line), 10)
	place = appendString(append(place, `,"method":`...), method)
	return site{source: string(appendString(nil, source)), place: string(place)}
}
