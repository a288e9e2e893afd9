package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// A connection leads to one agent.
type connection struct {
	agent *client.Client
	https *client.HTTPS // nil over NATS
	dir   string        // of a development agent, or empty
	close func()
}

// where says which agent is meant.
func (c *cli) where() (mbus, agentID, caFile string, err error) {
	mbus, agentID, caFile = c.Mbus, c.Agent, c.CA
	if c.Dev != "" {
		at, err := node.ReadAccess(string(c.Dev))
		if err != nil {
			return "", "", "", err
		}
		mbus, agentID, caFile = at.Mbus, cmp.Or(agentID, at.AgentID), cmp.Or(caFile, at.CA)
	}
	return cmp.Or(mbus, os.Getenv("AGENTCTL_MBUS"), "https://vcap:vcap@localhost:6969"), agentID, caFile, nil // the default of agent_client
}

func (c *cli) connect(ctx context.Context) (*connection, error) {
	mbus, agentID, caFile, err := c.where()
	if err != nil {
		return nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, err
	}
	ca, err := c.authority(caFile)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckBus(mbus); err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	to := &connection{dir: string(c.Dev)}
	var way client.Transport
	if strings.HasPrefix(mbus, "https:") {
		if ca == "" && !c.Insecure {
			fmt.Fprintln(os.Stderr, "agentctl: warning: nobody checks that this is the agent; name its certificate with --ca, or say --insecure")
		}
		to.https, err = client.NewHTTPS(client.HTTPSConfig{URL: mbus, CA: ca, Keys: keys, AgentID: agentID})
		if err != nil {
			return nil, err
		}
		way, to.close = to.https, to.https.Close
	} else if way, to.close, err = c.connectNATS(ctx, mbus, agentID, ca, keys); err != nil {
		return nil, err
	}
	to.agent = client.New(client.Config{
		Transport: way, ReplyTo: "agentctl", Protocol: c.Protocol, PollDelay: c.Poll, Tolerate: c.Tolerate, Progress: c.progress(),
	})
	if to.https == nil {
		c.onBus(ctx, to.agent)
	}
	return to, nil
}

func (c *cli) connectNATS(ctx context.Context, mbus, agentID, ca string, keys *seal.Keys) (client.Transport, func(), error) {
	if agentID == "" {
		return nil, nil, fmt.Errorf("%w: over NATS, --agent has to say which agent is meant, by its id", errUsage)
	}
	conn, err := c.dialNATS(ctx, mbus, ca, nil)
	if err != nil {
		return nil, nil, err
	}
	way, err := client.NewNATS(client.NATSConfig{Conn: conn, AgentID: agentID, DirectorID: c.Director, Timeout: c.Timeout, Keys: keys})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return way, func() {
		way.Close()
		leave(conn)
	}, nil
}

// dialNATS gives a connection to a server that is there. Without a log, nobody is told what becomes of it.
func (c *cli) dialNATS(ctx context.Context, mbus, ca string, log *slog.Logger) (*nats.Conn, error) {
	if _, err := url.Parse(mbus); err != nil {
		return nil, errors.New("--mbus is no URL") // what it is may hold a password
	}
	cfg := transport.ConnectConfig{Servers: []string{mbus}, Name: "agentctl", Logger: log}
	if c.Cert != "" {
		cert, err := readText(c.Cert)
		if err != nil {
			return nil, err
		}
		key, err := readText(c.Key)
		if err != nil {
			return nil, err
		}
		cfg.TLS = &transport.Certificates{CA: ca, Certificate: cert, PrivateKey: key}
	}
	conn, err := transport.Connect(cfg)
	if err != nil {
		return nil, err
	}
	if !conn.IsConnected() { // it would go on trying for ever; a person wants to know now
		err := conn.LastError()
		conn.Close()
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, fmt.Errorf("%w at the NATS server, %s", client.ErrAuthentication, transport.BusHosts(mbus))
		}
		return nil, fmt.Errorf("%w: no NATS server answers at %s", errConnect, transport.BusHosts(mbus))
	}
	waiting, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := conn.FlushWithContext(waiting); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: no NATS server: %w", errConnect, err)
	}
	return conn, nil
}

// leave ends a connection to NATS.
func leave(conn *nats.Conn) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = messaging.Drain(ctx, conn) // cuts the link in the end
}

// authority is the certificate that the agent, or the NATS server, is known by, if one was named.
func (c *cli) authority(file string) (string, error) {
	if file == "" || c.Insecure {
		return "", nil
	}
	return readText(file)
}

// keys are those of env.bosh.credentials, from a file.
func (c *cli) keys() (*seal.Keys, error) {
	if c.Credentials == "" {
		return nil, nil
	}
	text, err := readText(c.Credentials)
	if err != nil {
		return nil, err
	}
	var file struct {
		Crypt string `json:"crypt_key"`
		Sign  string `json:"sign_key"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("%s is no JSON object with crypt_key and sign_key", c.Credentials)
	}
	return &seal.Keys{Crypt: file.Crypt, Sign: file.Sign}, nil
}

// progress tells on standard error that a task goes on: at first, and then every ten seconds. Of questions that fail in a row the first
// one is told, and how many there were.
func (c *cli) progress() func(client.Progress) {
	if c.Quiet {
		return nil
	}
	const pause = 10 * time.Second
	var told time.Duration
	failed := 0 // questions in a row
	return func(p client.Progress) {
		if p.Err == nil && failed > 0 {
			fmt.Fprintf(os.Stderr, "agentctl: %s, task %s: asked %d times more\n", p.Method, p.TaskID, failed)
			failed = 0
		}
		switch {
		case p.Err != nil:
			if failed++; failed > 1 {
				return
			}
			fmt.Fprintf(os.Stderr, "agentctl: %s, task %s: %v; asking again\n", p.Method, p.TaskID, p.Err)
		case p.Polls <= 1 || p.Elapsed-told >= pause:
			told = p.Elapsed
			fmt.Fprintf(os.Stderr, "%s, task %s: under way for %s\n", p.Method, p.TaskID, brief(p.Elapsed))
		}
	}
}

// brief is a time for people: in whole seconds, or milliseconds of less than one.
func brief(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// maxFile bounds what is read of files that are sent as one message, in bytes.
const maxFile = 64 << 20

// readText reads a file, or standard input for "-".
func readText(name string) (string, error) {
	var from io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return string(data), err
}
