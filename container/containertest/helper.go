package containertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deakit/deakit/container"
)

const (
	helperEnv  = "CONTAINERTEST_HELPER"
	helperPath = "/containertest/helper"
)

// Helper makes the test binary act as a program inside a container, and ends it, when the suite started it as such; else
// it does nothing. Call it first in TestMain.
func Helper() {
	command := os.Getenv(helperEnv)
	if command == "" {
		return
	}
	name, arg, _ := strings.Cut(command, " ")
	actions := map[string]func(string) error{
		"listen":  listen,
		"eat":     eat,
		"rlimits": rlimits,
		"detach":  detach,
	}
	if err := actions[name](arg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper returns the process that does what command says.
func (s *suite) helper(c container.Container, command string) container.ProcessSpec {
	s.Helper()
	return container.ProcessSpec{
		Path: s.info(c).Inside(helperPath),
		Args: []string{"-test.run=^$"}, // should TestMain not call Helper, this ends at once
		// Under the race detector every program ends by sleeping for a second, unless it is told not to.
		Env: []string{helperEnv + "=" + command, "GORACE=atexit_sleep_ms=0"},
	}
}

func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// listen answers each connection to a port with a greeting.
func listen(port string) error {
	l, err := net.Listen("tcp4", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintln(conn, "hello")
		conn.Close()
	}
}

// eat uses so many bytes of memory, and keeps them.
func eat(bytes string) error {
	n, err := strconv.Atoi(bytes)
	if err != nil {
		return err
	}
	eaten := make([]byte, n)
	for i := 0; i < n; i += os.Getpagesize() {
		eaten[i] = 1
	}
	fmt.Println("ate")
	time.Sleep(time.Hour)
	fmt.Println(eaten[n-1])
	return nil
}

// rlimits prints soft and hard limit of open files and of the size of files.
func rlimits(string) error {
	// Go raises the soft limit of open files as it starts, and gives children the original one.
	out, err := exec.Command("sh", "-c", "ulimit -S -n; ulimit -H -n").Output()
	fmt.Print(string(out))
	return err
}

// detach starts a sleeping process that has neither parent nor session nor output in common with this one, in two steps.
func detach(arg string) error {
	step, token, _ := strings.Cut(arg, " ")
	next := exec.Command("sleep", token)
	next.Env = os.Environ()
	if step == "1" {
		next = exec.Command(os.Args[0], os.Args[1:]...)
		next.Env = append(os.Environ(), helperEnv+"=detach 2 "+token)
	}
	next.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return next.Start()
}
