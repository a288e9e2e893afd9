package directory

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hammer sends one request over and over on 8 connections for each processor, and reads answers of a known length, with
// little work of its own: what is measured is the server.
func hammer(b *testing.B, base, target string) {
	b.Helper()
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
	length := answerLength(b, base, request)
	b.ReportAllocs()
	b.SetBytes(int64(length))
	b.SetParallelism(8)
	b.ResetTimer()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, min(length, 1<<20))
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			for left := length; left > 0; left -= min(left, len(buf)) {
				if _, err := io.ReadFull(conn, buf[:min(left, len(buf))]); err != nil {
					b.Error(err)
					return
				}
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpuTime is what the process has used so far, client and server: a figure that other work on the machine moves less.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func answerLength(b *testing.B, base string, request []byte) int {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	require.NoError(b, err)
	defer conn.Close()
	_, err = conn.Write(request)
	require.NoError(b, err)
	var counted counter
	in := bufio.NewReaderSize(io.TeeReader(conn, &counted), 1<<20)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(b, err)
	require.Equal(b, 200, resp.StatusCode)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(b, err)
	return int(counted)
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// beside runs the same request against a signed directory server as Run serves it, the same as a mere handler, and
// net/http's FileServer without signatures.
func beside(b *testing.B, prepare func(f *fixture), path string) {
	f := newFixture(b, Config{})
	prepare(f)
	target := f.signed(path, "")[len(f.url):]
	b.Run("deakit", func(b *testing.B) {
		base, end := running(b, f.server)
		hammer(b, base, target)
		require.NoError(b, end())
	})
	b.Run("handler", func(b *testing.B) { hammer(b, f.url, target) })
	b.Run("FileServer", func(b *testing.B) {
		base, _ := serve(b, http.FileServer(http.Dir(f.root)))
		hammer(b, base, path)
	})
}

func BenchmarkFile4KiB(b *testing.B) {
	beside(b, func(f *fixture) { f.write("logs/stdout.txt", strings.Repeat("x", 4<<10)) }, "/logs/stdout.txt")
}

func BenchmarkFile100MiB(b *testing.B) {
	beside(b, func(f *fixture) {
		file, err := os.Create(filepath.Join(f.root, "large"))
		require.NoError(b, err)
		defer file.Close()
		_, err = io.CopyN(file, zeros{}, 100<<20)
		require.NoError(b, err)
	}, "/large")
}

// zeros are content without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func BenchmarkListing100(b *testing.B) {
	beside(b, func(f *fixture) {
		for i := range 100 {
			f.write(fmt.Sprintf("some/file-%02d.rb", i), strings.Repeat("x", i*50))
		}
	}, "/some/")
}

// BenchmarkTailLatency is the time from a write to the arrival at the client.
func BenchmarkTailLatency(b *testing.B) {
	f := newFixture(b, Config{})
	f.write("log", "")
	file, err := os.OpenFile(filepath.Join(f.root, "log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(b, err)
	defer file.Close()
	c := f.tail(b, "log", "&tail_offset=0")
	line := []byte("2013-11-21 02:13:20 a line of a log\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := file.Write(line); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c.body, line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := signerAt(b, signedAt, testKey)
	_, query, _ := strings.Cut(s.SignedPath("/instance_paths/2a5e8c1f", text("/logs/stdout.log")), "?")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify("/instance_paths/2a5e8c1f", query); err != nil {
			b.Fatal(err)
		}
	}
}
