package blobstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/nats-io/nats.go"
)

// Environment is what [Open] may need besides the options of a provider.
type Environment struct {
	BaseDir string     // of the agent; default /var/vcap
	TempDir string     // default os.TempDir()
	NATS    *nats.Conn // for the provider "nats"
}

// Open makes the store that settings name: "dummy", "local", "simple", "dav", "s3" with their options as agents know
// them (reference of the clients in Ruby and Go), "nats" for an object store in NATS with the options "bucket" (default
// "blobs") and "replicas", which is opened when it is first needed. Any other provider X is the program bosh-blobstore-X,
// which gets the options as they are.
func Open(provider string, opts map[string]any, env Environment) (Store, error) {
	store, err := open(provider, &options{values: opts}, env)
	if err != nil {
		return nil, fmt.Errorf("blobstore provider %q: %w", provider, err)
	}
	return store, nil
}

// Check fails as Open would, as far as that can be told without asking anybody. It changes nothing.
func Check(provider string, opts map[string]any) (err error) {
	o := &options{values: opts}
	switch provider {
	case "dummy", "local", "simple", "dav", "s3": // which are opened without a sound
		_, err = open(provider, o, Environment{})
	case "nats":
		o.textOr("bucket", "")
		o.number("replicas")
		err = o.err
	default:
		_, err = externalProgram(provider)
	}
	if err != nil {
		return fmt.Errorf("blobstore provider %q: %w", provider, err)
	}
	return nil
}

func open(provider string, o *options, env Environment) (Store, error) {
	if env.BaseDir == "" {
		env.BaseDir = "/var/vcap"
	}
	switch provider {
	case "dummy":
		return Dummy{}, nil
	case "local":
		return openLocal(o, env)
	case "simple":
		client := o.http()
		cfg := SimpleConfig{o.text("endpoint"), o.text("bucket"), o.text("user"), o.text("password"), client}
		if o.err != nil {
			return nil, o.err
		}
		return NewSimple(cfg)
	case "dav":
		client := o.http()
		cfg := DAVConfig{o.text("endpoint"), o.text("user"), o.text("password"), client}
		if o.err != nil {
			return nil, o.err
		}
		return NewDAV(cfg)
	case "s3":
		return openS3(o)
	case "nats":
		cfg := JetStreamConfig{Conn: env.NATS, Bucket: o.textOr("bucket", "blobs"), Replicas: o.number("replicas")}
		if o.err == nil && env.NATS == nil {
			o.err = errors.New("there is no connection to NATS")
		}
		if o.err != nil {
			return nil, o.err
		}
		return newLater(func(ctx context.Context) (Store, error) { return NewJetStream(ctx, cfg) }), nil
	}
	return NewExternal(ExternalConfig{provider, o.values, filepath.Join(env.BaseDir, "bosh", "etc"), env.TempDir})
}

// microCache is where the tools for a single machine expected their blobs; agents keep them elsewhere.
const microCache = "/var/vcap/micro_bosh/data/cache"

func openLocal(o *options, env Environment) (Store, error) {
	if _, there := o.values["blobstore_path"]; !there {
		return nil, errors.New("missing blobstore_path")
	}
	path := o.text("blobstore_path")
	switch {
	case o.err != nil:
		return nil, o.err
	case path == "":
		return nil, errors.New("missing blobstore_path")
	case path == microCache:
		path = filepath.Join(env.BaseDir, "data", "blobs")
	}
	return NewLocal(path, LocalOptions{}), nil
}

func openS3(o *options) (Store, error) {
	host := o.textOr("host", "s3.amazonaws.com")
	if port := o.number("port"); port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	scheme := "https"
	if !o.flagOr("use_ssl", true) {
		scheme = "http"
	}
	cfg := S3Config{
		Endpoint:        scheme + "://" + host,
		Region:          o.text("region"),
		Bucket:          o.text("bucket_name"),
		Folder:          o.text("folder"),
		AccessKeyID:     o.text("access_key_id"),
		SecretAccessKey: o.text("secret_access_key"),
		SessionToken:    o.text("session_token"),
		HTTP:            o.http(),
	}
	key := o.text("encryption_key")
	if o.err != nil {
		return nil, o.err
	}
	store, err := NewS3(cfg)
	if err != nil || key == "" {
		return store, err
	}
	return NewEncrypted(store, key), nil
}

// options reads the options of a provider. The first mistake is kept.
type options struct {
	values map[string]any
	err    error
}

func (o *options) wrong(name, want string) {
	if o.err == nil {
		o.err = fmt.Errorf("%s must be a %s", name, want)
	}
}

func (o *options) text(name string) string { return o.textOr(name, "") }

func (o *options) textOr(name, otherwise string) string {
	value := o.values[name]
	if value == nil || value == "" {
		return otherwise
	}
	s, ok := value.(string)
	if !ok {
		o.wrong(name, "string")
	}
	return s
}

func (o *options) flagOr(name string, otherwise bool) bool {
	value := o.values[name]
	if value == nil {
		return otherwise
	}
	b, ok := value.(bool)
	if !ok {
		o.wrong(name, "boolean")
	}
	return b
}

// number reads a whole number, also in a string.
func (o *options) number(name string) int {
	n, err := 0, error(nil)
	switch value := o.values[name].(type) {
	case nil:
	case int:
		n = value
	case float64: // of JSON
		n = int(value)
		if float64(n) != value {
			err = strconv.ErrSyntax
		}
	case string:
		n, err = strconv.Atoi(value)
	default:
		err = strconv.ErrSyntax
	}
	if err != nil || n < 0 {
		o.wrong(name, "whole number")
	}
	return n
}

// http makes the client of a provider: ssl_no_verify (dav), ssl_verify_peer (s3), tls.cert.ca (davcli).
func (o *options) http() *http.Client {
	opts := HTTPOptions{NoVerify: o.flagOr("ssl_no_verify", false) || !o.flagOr("ssl_verify_peer", true)}
	if t, ok := o.values["tls"].(map[string]any); ok {
		if cert, ok := t["cert"].(map[string]any); ok {
			opts.CA = (&options{values: cert}).text("ca")
		}
	}
	client, err := NewHTTPClient(opts)
	if err != nil && o.err == nil {
		o.err = err
	}
	return client
}
