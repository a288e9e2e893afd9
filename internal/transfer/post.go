package transfer

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// postTime bounds one PostJSON, from connecting to the end of the answer.
const postTime = 30 * time.Second

// PostJSON posts a JSON text, once, and returns the status of the answer, whose body does not matter. User info of the
// URL becomes basic authentication and is in no error. An error says that no answer came. A nil client stands for one of its
// own; redirects are answers.
func PostJSON(ctx context.Context, client *http.Client, uri string, body []byte) (status int, err error) {
	u, err := parse(uri)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, postTime, ErrTimeout)
	defer cancel()
	client, idle := noRedirect(client, 5*time.Second)
	defer idle()
	request, err := newRequest(ctx, http.MethodPost, u)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response, err := client.Do(request)
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // so that the connection can serve again
	return response.StatusCode, nil
}
