package main

import (
	"context"
	"fmt"
)

// taskGet asks for a task once, or until it has ended.
type taskGet struct {
	ID   string `arg:"" help:"Id of the task."`
	Wait bool   `help:"Until it has ended."`
}

func (t *taskGet) talk(ctx context.Context, c *cli, to *connection) error {
	task := to.agent.Resume("get_task", t.ID)
	if t.Wait {
		value, err := task.Wait(ctx)
		if err != nil {
			return reached(ctx, err)
		}
		return c.show("get_task", value)
	}
	value, done, err := task.Get(ctx)
	switch {
	case err != nil:
		return reached(ctx, err)
	case !done:
		_, err := fmt.Fprintln(c.out, "running")
		return err
	}
	return c.show("get_task", value)
}
