package protocol_test

import (
	"bytes"
	"fmt"
	"log"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/warden/protocol"
)

func Example() {
	var wire bytes.Buffer
	if err := protocol.Write(&wire, &protocol.EchoRequest{Message: proto.String("hi")}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", wire.String())
	request, err := protocol.NewReader(&wire).Request()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(request.(*protocol.EchoRequest).GetMessage())
	// Output:
	// "8\r\n\b]\x12\x04\n\x02hi\r\n"
	// hi
}
