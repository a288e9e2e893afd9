package sshuser_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/deakit/deakit/agent/sshuser"
)

func Example() {
	users, err := sshuser.New(sshuser.Config{Base: "/var/vcap"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = users.Setup(context.Background(), "Root:", "ssh-ed25519 AAAA")
	fmt.Println(errors.Is(err, sshuser.ErrName))
	// Output: true
}
