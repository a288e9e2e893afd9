package directory

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"
)

type connKey struct{}

// ConnContext is for the field of this name of an http.Server that serves a Server: answers of some kilobytes then go out in
// one piece, where net/http would send the end of them by itself. Run has it built in.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return ctx
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, raw)
}

// net/http gathers 4 KiB, header included; larger answers leave in pieces, and those beyond socket buffers do so anyway.
const (
	gathered = 3 << 10
	gainless = 64 << 10
)

// together lets the kernel gather what is sent until the function that it returns is called.
func together(w http.ResponseWriter, r *http.Request, size int) (end func()) {
	raw, ok := r.Context().Value(connKey{}).(syscall.RawConn)
	if !ok || size < gathered || size > gainless {
		return func() {}
	}
	cork(raw, 1)
	return func() {
		_ = http.NewResponseController(w).Flush()
		cork(raw, 0)
	}
}

// cork fails when the connection is gone; the answer is then of no use.
func cork(raw syscall.RawConn, on int) {
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on) })
}
