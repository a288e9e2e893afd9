package memory_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container/memory"
)

// programs are those that the suite runs. The shell is none: it knows the scripts of the suite by their text, so that a
// script that changes there fails here until it is described anew.
var programs = map[string]memory.Program{
	"sh":    shell,
	"sleep": func(ctx context.Context, _ *memory.Process) int { <-ctx.Done(); return 0 },
	"cat": func(_ context.Context, p *memory.Process) int {
		_, _ = io.Copy(p.Stdout, p.Stdin)
		return 0
	},
	"env": func(_ context.Context, p *memory.Process) int {
		for _, entry := range p.Env {
			fmt.Fprintln(p.Stdout, entry)
		}
		return 0
	},
	"helper": helper,
}

// helper is what the test binary does in a real container.
func helper(ctx context.Context, p *memory.Process) int {
	command, arg, _ := strings.Cut(p.Getenv("CONTAINERTEST_HELPER"), " ")
	switch command {
	case "listen":
		listener, err := net.Listen("tcp4", "127.0.0.1:"+arg)
		if err != nil {
			fmt.Fprintln(p.Stderr, err)
			return 1
		}
		defer context.AfterFunc(ctx, func() { listener.Close() })()
		fmt.Fprintln(p.Stdout, "listening")
		for {
			conn, err := listener.Accept()
			if err != nil {
				return 1
			}
			fmt.Fprintln(conn, "hello")
			conn.Close()
		}
	case "eat":
		n, _ := strconv.ParseInt(arg, 10, 64)
		p.SetLoad(memory.Load{MemoryBytes: n, Cores: 1})
		fmt.Fprintln(p.Stdout, "ate")
		<-ctx.Done()
		return 0
	}
	return 127
}

func shell(ctx context.Context, p *memory.Process) int {
	text := p.Args[1]
	args := p.Args[3:]
	write := func(name, content string, perm os.FileMode) {
		if err := p.Files().WriteFile(path.Join(p.Dir, name), []byte(content), perm); err != nil {
			fmt.Fprintln(p.Stderr, err)
		}
	}
	zeros := func(n int) int {
		for ; n > 0; n -= 4096 {
			if _, err := p.Stdout.Write(make([]byte, min(n, 4096))); err != nil {
				return 1
			}
		}
		return 0
	}
	var number int
	if scan(text, "exit %d", &number) {
		return number
	}
	if scan(text, "kill -%d $$", &number) {
		_ = p.Signal(ctx, syscall.Signal(number))
		<-ctx.Done()
		return 0
	}
	switch {
	case text == "true":
	case text == "echo hi":
		fmt.Fprintln(p.Stdout, "hi")
	case text == "echo fine":
		fmt.Fprintln(p.Stdout, "fine")
	case text == "echo $USER":
		fmt.Fprintln(p.Stdout, p.Getenv("USER"))
	case text == "pwd -P":
		fmt.Fprintln(p.Stdout, path.Clean(p.Dir))
	case text == `for a; do printf '<%s>' "$a"; done`:
		fmt.Fprintf(p.Stdout, "<%s>", strings.Join(args, "><"))
	case text == "echo a; echo b >&2; cat; exit 3":
		fmt.Fprintln(p.Stdout, "a")
		fmt.Fprintln(p.Stderr, "b")
		_, _ = io.Copy(p.Stdout, p.Stdin)
		return 3
	case strings.HasPrefix(text, "i=0; while [ $i -lt 500 ]; do echo 1; echo 2 >&2"):
		ended := make(chan struct{})
		go func() { defer close(ended); fmt.Fprint(p.Stderr, strings.Repeat("2\n", 500)) }()
		fmt.Fprint(p.Stdout, strings.Repeat("1\n", 500))
		<-ended
	case strings.HasPrefix(text, "while read l; do echo $l; done; exit 8"):
		for lines := bufio.NewScanner(p.Stdin); lines.Scan(); {
			fmt.Fprintln(p.Stdout, lines.Text())
		}
		return 8
	case text == "head -c 2097152 /dev/zero":
		return zeros(2 << 20)
	case text == "head -c 2097152 /dev/zero && exit 4":
		if status := zeros(2 << 20); status != 0 {
			return status
		}
		return 4
	case scan(text, "head -c %d /dev/zero >big", &number), scan(text, "head -c %d /dev/zero >big; ln big same", &number):
		write("big", string(make([]byte, number)), 0o644)
	case strings.HasPrefix(text, "sleep ") && strings.HasSuffix(text, " & echo $$; wait"):
		fmt.Fprintln(p.Stdout, p.ID())
		<-ctx.Done()
	case strings.HasPrefix(text, "trap '"):
		return trapping(ctx, p, text)
	case text == "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); exit 0":
		p.SetLoad(memory.Load{Cores: 1e6})
		time.Sleep(time.Microsecond)
	default:
		return files(p, text, args, write)
	}
	return 0
}

func scan(text, format string, number *int) bool {
	n, err := fmt.Sscanf(text, format, number)
	return err == nil && n == 1 && fmt.Sprintf(format, *number) == text
}

// trapping is the script of trapping in the suite.
func trapping(ctx context.Context, p *memory.Process, text string) int {
	term := p.Trap(syscall.SIGTERM)
	fmt.Fprintln(p.Stdout, "ready")
	for {
		select {
		case <-term:
			if strings.Contains(text, "'exit 7'") {
				return 7
			}
		case <-ctx.Done():
			return 0
		}
	}
}

// files are the scripts that do something to files.
func files(p *memory.Process, text string, args []string, write func(string, string, os.FileMode)) int {
	f := p.Files()
	switch text {
	case "mkdir sub":
		_ = f.Mkdir("sub")
	case `echo x >here && echo x >"$1"/there`:
		write("here", "x\n", 0o644)
		write(args[0]+"/there", "x\n", 0o644)
	case "echo x >data; echo x >plain":
		write("data", "x\n", 0o644)
		write("plain", "x\n", 0o644)
	case "printf kept >file":
		write("file", "kept", 0o644)
	case "printf seen >file":
		write("file", "seen", 0o644)
	case "mkdir -p d/e && printf x >d/e/f && ln -s e d/l":
		write("d/e/f", "x", 0o644)
		_ = f.Symlink("e", "d/l")
	case `find "$1" "$2" -name escaped`:
		for _, name := range slices.Concat(f.List(args[0]), f.List(args[1])) {
			if path.Base(name) == "escaped" {
				fmt.Fprintln(p.Stdout, name)
			}
		}
	case `cd "$1" && test -x bin/run && test ! -x data* && cat link >/dev/null && for f in data*; do echo x >>"$f"; done && mkdir empty/y && rm link`:
		if content, err := f.ReadFile(args[0] + "/bin/run"); err != nil || !bytes.Equal(content, []byte("content of ./bin/run")) {
			return 1
		}
		_ = f.Append(args[0]+"/data \xfc\n.txt", []byte("x\n"))
		_ = f.Mkdir(args[0] + "/empty/y")
		f.Remove(args[0] + "/link")
	default:
		fmt.Fprintf(p.Stderr, "the shell of this test does not know the script %q\n", text)
		return 127
	}
	return 0
}
