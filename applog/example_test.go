package applog_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/applog"
)

// The log of one instance goes to a syslog receiver.
func Example() {
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer receiver.Close()
	root, err := os.MkdirTemp("", "container-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)

	// The node has one emitter and one follower.
	syslog, err := applog.NewSyslog(applog.SyslogConfig{Target: "syslog-udp://" + receiver.LocalAddr().String()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- syslog.Run(ctx) }()
	follower, err := applog.NewFollower(applog.FollowerConfig{}, syslog)
	if err != nil {
		fmt.Println(err)
		return
	}

	// An instance begins and writes, and ends.
	tail, err := follower.Follow(applog.Log{
		Root:   root,
		Origin: func() applog.Line { return applog.Line{App: "0e7b4b2e", Instance: "c62305038a34", Index: 2} },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	logs := filepath.Join(root, applog.LogDir)
	_ = os.MkdirAll(logs, 0o755)
	_ = os.WriteFile(filepath.Join(logs, applog.StdoutFile), []byte("Listening on 8080\n"), 0o644)
	stop, stopped := context.WithTimeout(context.Background(), 5*time.Second)
	defer stopped()
	fmt.Println("all read:", tail.Stop(stop) == nil)

	// The emitter ends last.
	cancel()
	fmt.Println("all sent:", <-done == nil, syslog.Stats())

	datagram := make([]byte, 1024)
	n, _, err := receiver.ReadFrom(datagram)
	fields := strings.SplitN(string(datagram[:n]), " ", 3)
	fmt.Println(fields[0], "(time)", fields[2], err)
	// Output:
	// all read: true
	// all sent: true {1 0}
	// <14>1 (time) deakit 0e7b4b2e [APP/2] - [tags@47450 instance_id="2" process_instance_id="c62305038a34"] Listening on 8080 <nil>
}
