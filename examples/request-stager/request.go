package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/examples/internal/standin"
	"github.com/deakit/deakit/messaging"
)

// A stagingError is what the stager says of its failure.
type stagingError string

func (e stagingError) Error() string { return string(e) }

// errTimeout: what was waited for did not come.
var errTimeout = errors.New("timed out")

// late says so, in the words of the original's client.
type late time.Duration

func (d late) Error() string { return fmt.Sprintf("Timed out after %gs.", time.Duration(d).Seconds()) }
func (d late) Unwrap() error { return errTimeout }

// run does all that comes after the command line.
func (c *cli) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if err := checkOutput(c.Output); err != nil {
		return err
	}
	app, err := openApp(c.App)
	if err != nil {
		return err
	}
	defer app.Close()
	properties, err := c.properties(app)
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	e, err := openEndpoints(app, c.Output, c.Listen, c.URL, c.ID, c.Timeout)
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- e.serve(serving) }()
	defer func() {
		end()
		err = errors.Join(err, <-served, e.discard())
	}()
	request := messaging.QueuedStaging{
		AppID: messaging.Text(c.ID), DownloadURI: e.downloadURI(), UploadURI: e.uploadURI(), Properties: properties,
	}
	if !c.JSON {
		show(stdout, request)
	}
	answer, err := c.ask(ctx, conn, request)
	if err == nil {
		warn(answer.TaskLog, stderr)
		err = c.tell(answer, e, stdout)
	}
	return e.explain(err)
}

// explain adds to an error what only this side knows.
func (e *endpoints) explain(err error) error {
	unreached := errors.Is(err, errTimeout)
	var failed stagingError
	if errors.As(err, &failed) {
		unreached = strings.Contains(string(failed), "downloading app") // as stagers of all times have it
	}
	if !unreached || e.fetched.Load() {
		return err
	}
	return fmt.Errorf("%w\nnobody has fetched the app at %s; where the stager cannot reach that, see --listen and --url", err, e.Base())
}

// missing is how a stager says that the app can only run elsewhere.
const missing = "The app can be staged, and needs a runtime that is not here"

// warn tells what is easily passed over in a log.
func warn(log string, stderr io.Writer) {
	for line := range strings.Lines(log) {
		if i := strings.Index(line, missing); i >= 0 {
			fmt.Fprintln(stderr, "request-stager:", strings.TrimSpace(line[i:]))
		}
	}
}

// connect waits for a server.
func (c *cli) connect(ctx context.Context) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, late(c.Timeout))
	defer cancel()
	return standin.Connect(ctx, c.NATS, "request-stager")
}

// ask waits for the answer.
func (c *cli) ask(ctx context.Context, conn *nats.Conn, request messaging.QueuedStaging) (answer messaging.QueuedStagingAnswer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, late(c.Timeout))
	defer cancel()
	if c.Old {
		answer, err = messaging.AskOldStager(ctx, conn, c.Queue, request)
	} else {
		answer, err = messaging.StagerQueue(c.Queue).Ask(ctx, conn, request)
	}
	var unreadable *messaging.MessageError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, nats.ErrNoResponders):
		err = fmt.Errorf("no stager listens on the queue %q; start examples/stager, or name another with --queue", c.Queue)
	case errors.As(err, &unreadable):
		err = fmt.Errorf("Failed decoding response: %w", err) //nolint:staticcheck // the words of the original's client
	}
	return answer, err
}

// show prints a request without the password in its URLs, which is good for it alone.
func show(w io.Writer, request messaging.QueuedStaging) {
	request.DownloadURI, request.UploadURI = redact(request.DownloadURI), redact(request.UploadURI)
	text, err := json.MarshalIndent(request, "", "  ")
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Fprintf(w, "%s\n\n", text)
}

// tell prints the answer, and keeps the droplet.
func (c *cli) tell(answer messaging.QueuedStagingAnswer, e *endpoints, stdout io.Writer) error {
	if c.JSON {
		if err := json.NewEncoder(stdout).Encode(answer); err != nil {
			return err
		}
	} else {
		fmt.Fprint(stdout, answer.TaskLog)
	}
	if failure := answer.Failure(); failure != "" {
		return stagingError(failure)
	}
	size, err := e.keep()
	if err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(stdout, "\n%s  %.1f kB\n", c.Output, float64(size)/1000)
	return err
}

// redact returns a URL without its user info.
func redact(uri string) string {
	u, err := url.Parse(uri)
	if err != nil { // it was made by this program
		return "(unreadable)"
	}
	u.User = nil
	return u.String()
}
