package alert_test

import (
	"fmt"
	"time"

	"github.com/deakit/deakit/agent/alert"
)

func Example() {
	mail := []byte("Message-id: <1304319946.0@localhost>\n\nService: nats\nEvent: Does not exist\nAction: restart\n" +
		"Date: Mon, 02 May 2011 07:05:46 +0000\nDescription: process is not running\n")
	event, err := alert.ParseMail(mail, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	if told, ok := alert.FromEvent(event, []string{"10.0.0.21"}, nil); ok {
		fmt.Println(told.Severity, told.Title)
	}
	// Output: 1 nats (10.0.0.21) - Does not exist - restart
}
