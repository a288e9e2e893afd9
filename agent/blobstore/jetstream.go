package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deakit/deakit/messaging"
)

// JetStreamConfig names an object store of NATS.
type JetStreamConfig struct {
	Conn     *nats.Conn // stays the caller's
	Bucket   string
	Replicas int   // of a bucket that is made here; default 1
	MaxBytes int64 // likewise; default no limit
}

// JetStream keeps blobs in an object store of NATS, so that a platform that has NATS needs no other store. NATS itself
// checks the content by its SHA-256.
type JetStream struct{ store jetstream.ObjectStore }

// NewJetStream opens the bucket, and makes it if need be.
func NewJetStream(ctx context.Context, cfg JetStreamConfig) (*JetStream, error) {
	if !cfg.Conn.IsConnected() { // the library would say what fails in it
		return nil, fmt.Errorf("open bucket %q in NATS: %w", cfg.Bucket, messaging.ErrDisconnected)
	}
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, fmt.Errorf("open blobstore in NATS: %w", err)
	}
	store, err := js.ObjectStore(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		store, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: cfg.Bucket, Description: "blobs", Replicas: max(1, cfg.Replicas), MaxBytes: cfg.MaxBytes,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another one was faster
			store, err = js.ObjectStore(ctx, cfg.Bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %q in NATS: %w", cfg.Bucket, err)
	}
	return &JetStream{store}, nil
}

// Get copies an object.
func (j *JetStream) Get(ctx context.Context, id string, w io.Writer) error {
	if err := CheckID(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	object, err := j.store.Get(ctx, id)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("blob %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	defer object.Close()
	if _, err := io.Copy(w, reader{ctx, object}); err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}

// Put stores an object.
func (j *JetStream) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	if err := CheckID(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	_, err := r.Seek(0, io.SeekStart)
	if err == nil {
		_, err = j.store.Put(ctx, jetstream.ObjectMeta{Name: id}, reader{ctx, r})
	}
	if err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return nil
}

// Delete removes an object.
func (j *JetStream) Delete(ctx context.Context, id string) error {
	if err := CheckID(id); err != nil {
		return err
	}
	err := j.store.Delete(ctx, id)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return fmt.Errorf("delete blob %s: %w", id, err)
	}
	return nil
}

// Exists asks for what is known of an object.
func (j *JetStream) Exists(ctx context.Context, id string) (bool, error) {
	if err := CheckID(id); err != nil {
		return false, err
	}
	_, err := j.store.GetInfo(ctx, id)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find blob %s: %w", id, err)
	}
	return true, nil
}
