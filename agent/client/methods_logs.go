package client

import "context"

// Logs is an archive of logs in a blob.
type Logs struct {
	BlobID string `json:"blobstore_id"`
	Digest string `json:"sha1"` // of today's agents
}

// FetchLogs puts logs of a type ("job", "agent", "system", or several with commas) into a blob. Filters are patterns of
// paths, with old agents names; nil takes all.
func (c *Client) FetchLogs(ctx context.Context, logType string, filters []string) (Logs, error) {
	return run[Logs](ctx, c, "fetch_logs", logType, filters)
}

// SignedLogs says where to put logs.
type SignedLogs struct {
	URL     string            `json:"signed_url"`
	LogType string            `json:"log_type"`
	Filters []string          `json:"filters"`
	Headers map[string]string `json:"blobstore_headers,omitempty"` // to be sent with the upload
}

// FetchLogsWithSignedURL is FetchLogs to a URL. The result has the digest only.
func (c *Client) FetchLogsWithSignedURL(ctx context.Context, logs SignedLogs) (Logs, error) {
	return run[Logs](ctx, c, "fetch_logs_with_signed_url", logs)
}

// BundledLogs is an archive of logs on the machine. Whoever has copied it removes it with RemoveFile.
type BundledLogs struct {
	Path   string `json:"logs_tar_path"`
	Digest string `json:"sha512"` // with the prefix "sha512:"
}

// BundleLogs leaves an archive of logs on the machine, readable for a user, unless that is empty.
func (c *Client) BundleLogs(ctx context.Context, owner, logType string, filters []string) (BundledLogs, error) {
	return run[BundledLogs](ctx, c, "bundle_logs", struct {
		Filters []string `json:"filters"`
		LogType string   `json:"log_type"`
		Owner   string   `json:"owning_user"`
	}{filters, logType, owner})
}
