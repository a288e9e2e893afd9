package router_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/deakit/deakit/examples/paas/router"
	"github.com/deakit/deakit/messaging"
)

// A router, an app that registers when it is asked to, and a request.
func Example() {
	bus, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	bus.Start()
	defer bus.WaitForShutdown()
	defer bus.Shutdown()
	conn, err := messaging.Connect(messaging.Config{Servers: []string{bus.ClientURL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello from", r.Host) }))
	defer app.Close()
	inbox := messaging.NewInbox(conn, nil)
	defer inbox.Close()
	registered := make(chan struct{})
	_ = messaging.Handle(inbox, messaging.RouterStart, func(context.Context, messaging.RouterHello) {
		addr := app.Listener.Addr().(*net.TCPAddr)
		_ = messaging.RouterRegister.Publish(conn, messaging.Route{
			Host: addr.IP.String(), Port: uint16(addr.Port), URIs: []string{"shop.example.com"},
		})
		close(registered)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = inbox.Run(ctx) }()
	r := router.New(router.Config{Listener: listener}, conn, nil)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	<-registered
	for len(r.Routes()) == 0 {
		time.Sleep(time.Millisecond)
	}
	request, _ := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String()+"/", nil)
	request.Host = "shop.example.com"
	request.Close = true
	if response, err := http.DefaultClient.Do(request); err == nil {
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		fmt.Print(string(body))
	}
	cancel()
	fmt.Println(<-ended)
	// Output:
	// hello from shop.example.com
	// <nil>
}
