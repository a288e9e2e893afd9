package action_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/deakit/deakit/agent/action"
)

func Example() {
	greet := func(_ context.Context, name string, greeting *string) (map[string]string, error) {
		if greeting == nil {
			greeting = new("hello")
		}
		return map[string]string{"text": *greeting + " " + name}, nil
	}
	registry, err := action.New(action.Method{Name: "greet", Do: greet})
	if err != nil {
		panic(err)
	}
	method, _ := registry.Lookup("greet")
	for _, arguments := range []string{`["bob"]`, `["bob","good morning"]`, `[]`} {
		call, err := method.Bind(json.RawMessage(arguments))
		if err != nil {
			fmt.Println(err)
			continue
		}
		result, err := call(context.Background())
		fmt.Println(string(result), err)
	}
	// Output:
	// {"text":"hello bob"} <nil>
	// {"text":"good morning bob"} <nil>
	// Extracting method arguments from payload: Not enough arguments, expected 1, got 0
}
