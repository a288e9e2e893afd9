package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/deakit/deakit/internal/uuid"
)

// A Store keeps blobs under ids. Its methods may be called from several goroutines at once. An id that [CheckID] refuses
// is refused by all of them. A store that cannot do something, as external programs cannot delete, returns an
// errors.ErrUnsupported.
type Store interface {
	// Get writes the content of a blob to w. Without such a blob it is an [ErrNotFound]. After an error, w may have
	// received a part.
	Get(ctx context.Context, id string, w io.Writer) error

	// Put keeps what r holds, from its start, under id. What had the id before is replaced, if the store says nothing
	// else. A blob is there wholly or not at all.
	Put(ctx context.Context, id string, r io.ReadSeeker) error

	// Delete removes a blob. That there is none is no error.
	Delete(ctx context.Context, id string) error

	// Exists tells whether there is a blob.
	Exists(ctx context.Context, id string) (bool, error)
}

// Errors of stores and clients.
var (
	ErrNotFound  = errors.New("blob not found")
	ErrInvalidID = errors.New("invalid blob id: give letters, digits, '.', '_' and '-', not beginning with a '.', 255 at most")
	ErrTooLarge  = errors.New("blob is too large")
	ErrExists    = errors.New("object id is already in use") // (blobstore_client)
	ErrReadOnly  = errors.New("blobstore is read-only: give it an access key to write with")
)

// maxTime bounds one transfer, also one that trickles. Where nothing moves at all it ends sooner, with ErrStalled.
const maxTime = time.Hour

const maxID = 255 // bytes

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// CheckID returns an [ErrInvalidID] unless the id is fit to be a name in a directory and in a URL. Ids come from the
// network, and an agent that joined them to paths as they are would leave its directory.
func CheckID(id string) error {
	if len(id) > maxID || !idPattern.MatchString(id) {
		return fmt.Errorf("%.80q: %w", id, ErrInvalidID)
	}
	return nil
}

// NewID returns a random UUID, which is what directors demand of the ids that agents choose.
func NewID() string { return uuid.New() }
