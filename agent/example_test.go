package agent_test

import (
	"context"
	"fmt"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/transport"
)

func Example() {
	greet := func(_ context.Context, name string) (string, error) { return "hello " + name, nil }
	a, err := agent.New(agent.Config{ID: "vm-1", Methods: []action.Method{{Name: "greet", Do: greet}}})
	if err != nil {
		panic(err)
	}
	for _, text := range []string{
		`{"method":"ping","arguments":[]}`, `{"method":"greet","arguments":["bob"]}`, `{"method":"greet","arguments":[7]}`,
	} {
		request, err := transport.DecodeRequest([]byte(text))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(a.Handle(context.Background(), request).Encode(transport.MaxReply)))
	}
	// Output:
	// {"value":"pong"}
	// {"value":"hello bob"}
	// {"exception":{"message":"Action Failed greet: Extracting method arguments from payload: Unmarshalling action argument: argument 1: must be a string, not a number"}}
}
