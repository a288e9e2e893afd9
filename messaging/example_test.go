package messaging_test

import (
	"fmt"

	"github.com/deakit/deakit/messaging"
)

func Example() {
	data, err := messaging.DEAStop.Encode(messaging.StopMessage{
		Filter: messaging.Filter{Droplet: "0e7b4b2e", Indices: messaging.Indices{1}},
	})
	fmt.Println(string(data), err)

	// Old senders write the guid as a number; a message without it is refused.
	stop, err := messaging.DEAStop.Decode([]byte(`{"droplet": 42}`))
	fmt.Println(stop.Droplet, stop.WholeApp, err)
	_, err = messaging.DEAStop.Decode([]byte(`{}`))
	fmt.Println(err)
	// Output:
	// {"droplet":"0e7b4b2e","indices":[1]} <nil>
	// 42 true <nil>
	// message on dea.stop refused: droplet is required
}
