package runc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

const (
	helperEnv  = "RUNC_TEST_HELPER"
	helperPath = "/runc-test"
)

// helper makes the test binary act as a program in a container, or beside one.
func helper() {
	command := os.Getenv(helperEnv)
	if command == "" {
		return
	}
	name, arg, _ := strings.Cut(command, " ")
	err := map[string]func(string) error{
		"dial": dial, "serve": serve, "fill": fill, "freeze": freeze, "send-out": sendOut, "terminals": terminals, "buffers": buffers,
		"attempt": attempt, "flood": flood, "abstract": abstract,
	}[name](arg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// dial prints what a server says.
func dial(address string) error {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	fmt.Print(string(buf[:n]))
	return err
}

// serve says "hello" and where the client is, at an address.
func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprint(conn, "hello ", conn.RemoteAddr().(*net.TCPAddr).IP)
		conn.Close()
	}
}

// fill sends zeros to an address for as long as that takes them.
func fill(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	for zeros := make([]byte, 64<<10); ; {
		if _, err := conn.Write(zeros); err != nil {
			return nil
		}
	}
}

// withHelper is the specification of a container that can run the helper.
func withHelper(t testing.TB) container.Spec {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	return container.Spec{BindMounts: []container.BindMount{{Src: binary, Dst: helperPath}}}
}

func helperSpec(command string) container.ProcessSpec {
	return container.ProcessSpec{
		Path: helperPath, Args: []string{"-test.run=^$"},
		Env: []string{helperEnv + "=" + command, "GORACE=atexit_sleep_ms=0"}, // which is a second otherwise
	}
}

func shell(script string) container.ProcessSpec {
	return container.ProcessSpec{Path: "sh", Args: []string{"-c", script}}
}

func asRoot(spec container.ProcessSpec) container.ProcessSpec {
	spec.User = "root"
	return spec
}

// run runs a process to its end, and returns what it printed and its exit status.
func run(t testing.TB, c container.Container, spec container.ProcessSpec) (string, container.ExitStatus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	p, err := c.Run(ctx, spec, container.IO{Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	status, err := p.Wait(ctx)
	require.NoError(t, err)
	return out.String(), status
}

// output runs a process that must succeed.
func output(t testing.TB, c container.Container, spec container.ProcessSpec) string {
	t.Helper()
	out, status := run(t, c, spec)
	require.Zero(t, status, out)
	return out
}

// listening starts the helper's server in a container, and returns when it listens.
func listening(t testing.TB, c container.Container, address string) {
	t.Helper()
	started := make(chan struct{}, 100)
	_, err := c.Run(context.Background(), helperSpec("serve "+address), container.IO{Stdout: signalWriter(started)})
	require.NoError(t, err)
	select {
	case <-started:
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not start")
	}
}

// signalWriter tells that something was written.
type signalWriter chan struct{}

func (s signalWriter) Write(p []byte) (int, error) {
	s <- struct{}{}
	return len(p), nil
}

// hostServer serves at an address of the host, until the test ends.
func hostServer(t testing.TB, address string) string {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "the host")
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// outside is a machine beyond this one: a network namespace in which the helper serves.
func outside(t testing.TB, address string) (pid int) {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(binary, "-test.run=^$")
	cmd.Env = []string{helperEnv + "=serve " + address}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	_, err = stdout.Read(make([]byte, 1))
	require.NoError(t, err)
	return cmd.Process.Pid
}

// freeze stops all processes of its user, again and again.
func freeze(string) error {
	fmt.Println("ready")
	for {
		_ = syscall.Kill(-1, syscall.SIGSTOP) // there may be none but this one
	}
}

// sendOut sends a datagram by way of the interface to the outside, whatever the address.
func sendOut(address string) error {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "eth0") }), err)
	}}
	conn, err := d.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("a datagram"))
	return err
}

// terminals opens pseudo terminals until there are no more, and prints how many that were, and why.
func terminals(string) error {
	for count := 0; ; count++ {
		if _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); err != nil {
			fmt.Print(count, " ", err)
			return nil
		}
	}
}

// buffers fills the buffers of many connections, of which nobody reads, and prints how many bytes are in them.
func buffers(string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	held, data := 0, make([]byte, 64<<10)
	var kept []net.Conn
	for range 450 {
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		in, err := l.Accept()
		if err != nil {
			return err
		}
		kept = append(kept, in, out)
		raw, err := out.(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		err = raw.Control(func(fd uintptr) {
			for n := 0; n >= 0; held += max(n, 0) {
				n, _ = syscall.Write(int(fd), data) // it does not block
			}
		})
		if err != nil {
			return err
		}
	}
	fmt.Print(held)
	runtime.KeepAlive(kept)
	return nil
}

// flood sends a datagram from each of many ports.
func flood(address string) error {
	for range 2000 {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

// abstract serves at an abstract socket, and prints what the servers at others say, which are in a list of names.
func abstract(names string) error {
	own, others, _ := strings.Cut(names, " ")
	l, err := net.Listen("unix", "@"+own)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "this is", own)
			conn.Close()
		}
	}()
	for name := range strings.FieldsSeq(own + " " + others) {
		conn, err := net.Dial("unix", "@"+name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		if _, err := io.Copy(os.Stdout, conn); err != nil {
			return err
		}
		conn.Close()
	}
	fmt.Println("served")
	select {}
}
