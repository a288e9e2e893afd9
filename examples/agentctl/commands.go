package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/agent/digest"
)

type cli struct {
	Dev      directory `placeholder:"DIR" help:"The agent that \"agent --dev DIR\" runs."`
	Mbus     string    `short:"m" placeholder:"URL" help:"https://user:password@host:port of the agent, or nats://user:password@host:4222. Default what AGENTCTL_MBUS in the environment says, which nobody else can read there, or https://vcap:vcap@localhost:6969."`
	Agent    string    `placeholder:"ID" help:"Id of the agent; for NATS, and with --credentials."`
	CA       string    `name:"ca" placeholder:"FILE" help:"Certificate that the agent, or the NATS server, is known by."`
	Insecure bool      `help:"Trust any certificate of an agent over HTTPS, without a warning."`
	Cert     string    `placeholder:"FILE" and:"pair" help:"Certificate to show to the NATS server."`
	Key      string    `placeholder:"FILE" and:"pair" help:"Its key."`
	Director string    `placeholder:"ID" help:"Part of the subjects of replies over NATS, director.ID.>; default a random one."`

	Credentials string `placeholder:"FILE" help:"JSON with crypt_key and sign_key, for agents that take encrypted messages only."`

	Protocol int           `default:"3" help:"Protocol number of requests, 0 to 3 (${default}): with 3, stop waits until all processes have ended."`
	Poll     time.Duration `default:"250ms" help:"Pause before each question whether a task has ended (${default})."`
	Tolerate int           `default:"10" help:"Questions in a row that may fail before a task is given up; -1 for none (${default})."`
	Timeout  time.Duration `default:"45s" help:"For a reply over NATS (${default})."`
	JSON     bool          `name:"json" help:"Print results as the JSON that came, on one line."`
	Quiet    bool          `short:"q" help:"Say nothing of tasks under way."`

	Ping    plain    `cmd:"" help:"Ask whether the agent is there."`
	Info    plain    `cmd:"" help:"Ask what it can do."`
	State   state    `cmd:"" help:"Ask how the machine and its jobs are."`
	Apply   withSpec `cmd:"" help:"Make the machine what a spec says."`
	Prepare withSpec `cmd:"" help:"Fetch what apply will need."`
	Start   plain    `cmd:"" help:"Start all processes of the jobs."`
	Stop    plain    `cmd:"" help:"Stop them."`
	Drain   drain    `cmd:"" help:"Let the jobs prepare for their end, by their drain scripts."`
	Script  script   `cmd:"" help:"Run a script of all jobs that have it, such as pre-start."`
	Errand  errand   `cmd:"" help:"Run an errand: bin/run of a job. Agents keep 256 KiB of each of its outputs, the beginning and the end; a line between them says how much is left out."`
	Compile compile  `cmd:"" help:"Compile the source of a package, which is a blob."`
	Logs    logs     `cmd:"" help:"Put logs into a blob."`
	SSH     struct {
		Setup   sshSetup   `cmd:"" help:"Make a user who may log in with a key. An agent in a directory makes none."`
		Cleanup sshCleanup `cmd:"" help:"Remove users."`
	} `cmd:"" name:"ssh" help:"Users who log in for a while."`
	Disks struct {
		List    plain `cmd:"" help:"Ids of the disks that are mounted."`
		Add     hint  `cmd:"" help:"Tell the agent where a disk is."`
		Remove  cid   `cmd:"" help:"Make it forget that."`
		Mount   cid   `cmd:"" help:"Mount a disk; one without a file system gets one."`
		Unmount cid   `cmd:"" help:"Unmount a disk."`
		Migrate cids  `cmd:"" help:"Copy the disk that is mounted to the one that was mounted after it."`
	} `cmd:"" help:"Persistent disks."`
	Task struct {
		Get    taskGet    `cmd:"" help:"Ask what became of a task; --wait waits for its end."`
		Cancel taskCancel `cmd:"" help:"End a task, if it is one that can be."`
	} `cmd:"" help:"Tasks that were begun before."`
	Settings settings `cmd:"" help:"Change settings: certificates, names of disks, bus, blob stores. With another bus or blob store the agent ends, to be started again by what keeps it running; one in a directory starts itself."`
	Upload   upload   `cmd:"" help:"Send a blob in a message (upload_blob). It holds secrets: methods of the agent find it, and nobody can read it back."`
	Blob     struct {
		Put blobPut `cmd:"" help:"Store a file at the agent under an id."`
		Get blobGet `cmd:"" help:"Fetch a blob that is at the agent."`
	} `cmd:"" help:"Blobs of an agent over HTTPS."`
	Call  call  `cmd:"" help:"Call any method."`
	Watch watch `cmd:"" help:"Print what agents tell the health monitor over NATS, as it comes: heartbeats, alerts, good-byes, and who falls silent. --agent listens to one only."`

	Version kong.VersionFlag `short:"v" help:"Print the version and end."`

	out io.Writer
}

// A directory has a name. An empty one comes of a variable that is not set, and must not lead to another agent.
type directory string

// UnmarshalText implements an interface that kong looks for.
func (d *directory) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("the name of the directory is empty")
	}
	*d = directory(text)
	return nil
}

// plain is a method without arguments.
type plain struct{ name string }

// AfterApply implements a hook of kong. It checks what kong cannot know, and names the methods of commands that share a type.
func (c *cli) AfterApply() error {
	switch {
	case c.Protocol < 0 || c.Protocol > 3:
		return fmt.Errorf("--protocol %d: there are 0 to 3", c.Protocol)
	case c.Dev != "" && c.Mbus != "":
		return errors.New("--dev and -m both say where the agent is: use either")
	}
	c.Ping.name, c.Info.name, c.Start.name, c.Stop.name, c.Disks.List.name = "ping", "info", "start", "stop", "list_disk"
	c.Apply.name, c.Prepare.name = "apply", "prepare"
	c.Disks.Remove.name, c.Disks.Mount.name, c.Disks.Unmount.name = "remove_persistent_disk", "mount_disk", "unmount_disk"
	return nil
}

func (p *plain) request() (request, error) { return request{method: p.name}, nil }

type state struct {
	Full bool `help:"With figures of the machine."`
}

func (s *state) request() (request, error) {
	r := request{method: "get_state"}
	if s.Full {
		r.arguments = []any{"full"}
	}
	return r, nil
}

type withSpec struct {
	name string
	File string `arg:"" help:"JSON of an apply spec; - is standard input."`
}

func (w *withSpec) request() (request, error) {
	spec, err := readJSON(w.File)
	return request{method: w.name, arguments: []any{spec}}, err
}

// readJSON reads a file that is sent as it is.
func readJSON(name string) (json.RawMessage, error) {
	text, err := readText(name)
	if err != nil {
		return nil, err
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%w: %s is no JSON", errLocal, name)
	}
	return json.RawMessage(text), nil
}

type drain struct {
	Kind string `arg:"" enum:"update,shutdown,status" help:"${enum}; status is for agents of before 2014."`
	Spec string `arg:"" optional:"" help:"JSON of the new spec, for update."`
}

func (d *drain) request() (request, error) {
	r := request{method: "drain", arguments: []any{d.Kind}, cancellable: true}
	if d.Spec == "" {
		return r, nil
	}
	spec, err := readJSON(d.Spec)
	r.arguments = append(r.arguments, spec)
	return r, err
}

type script struct {
	Name string            `arg:"" help:"Of the script: bin/NAME of the jobs."`
	Env  map[string]string `placeholder:"K=V" help:"Environment."`
}

func (s *script) request() (request, error) {
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	return request{method: "run_script", arguments: []any{s.Name, map[string]any{"env": s.Env}}}, nil
}

type errand struct {
	Name string `arg:"" optional:"" help:"Of the job; default the first one."`
}

func (e *errand) request() (request, error) {
	r := request{method: "run_errand", cancellable: true}
	if e.Name != "" {
		r.arguments = []any{e.Name}
	}
	return r, nil
}

type compile struct {
	Blob    string `arg:"" help:"Id of the blob with the source."`
	Digest  string `arg:"" help:"Its SHA-1, or another digest, as in sha256:..."`
	Name    string `arg:"" help:"Of the package."`
	Version string `arg:"" help:"Of the package."`
	Output  string `short:"o" placeholder:"FILE" help:"Where to put the compiled package; default: it stays in the blob store."`
	Deps    string `placeholder:"FILE" help:"JSON of compiled packages that it needs, by name: {\"x\":{\"name\",\"version\",\"sha1\",\"blobstore_id\"}}."`
}

func (c *compile) output() string { return c.Output }

func (c *compile) request() (request, error) {
	deps := json.RawMessage("{}")
	var err error
	if c.Deps != "" {
		deps, err = readJSON(c.Deps)
	}
	return request{method: "compile_package", arguments: []any{c.Blob, c.Digest, c.Name, c.Version, deps}}, err
}

type logs struct {
	Type    string   `arg:"" help:"job, agent or system, or several with commas."`
	Filters []string `arg:"" optional:"" help:"Globs; default all."`
	Output  string   `short:"o" placeholder:"FILE" help:"Where to put the archive; default: it stays in the blob store."`
}

func (l *logs) output() string { return l.Output }

func (l *logs) request() (request, error) {
	if l.Filters == nil {
		l.Filters = []string{}
	}
	return request{method: "fetch_logs", arguments: []any{l.Type, l.Filters}}, nil
}

type sshSetup struct {
	User    string `arg:"" help:"Name, which begins with bosh_."`
	KeyFile string `arg:"" help:"Public key."`
}

func (s *sshSetup) request() (request, error) {
	key, err := readText(s.KeyFile)
	return request{method: "ssh", arguments: []any{"setup", map[string]any{"user": s.User, "public_key": key}}}, err
}

type sshCleanup struct {
	UserRegex string `arg:"" help:"Regular expression of names, such as ^bosh_x."`
}

func (s *sshCleanup) request() (request, error) {
	return request{method: "ssh", arguments: []any{"cleanup", map[string]any{"user_regex": s.UserRegex}}}, nil
}

type cid struct {
	name string
	CID  string `arg:"" name:"cid" help:"Id of the disk."`
}

func (c *cid) request() (request, error) {
	return request{method: c.name, arguments: []any{c.CID}}, nil
}

type cids struct {
	CIDs []string `arg:"" optional:"" name:"cid" help:"Ids of the old and the new one, for agents of before 2014."`
}

func (c *cids) request() (request, error) {
	r := request{method: "migrate_disk"}
	for _, id := range c.CIDs {
		r.arguments = append(r.arguments, id)
	}
	return r, nil
}

type hint struct {
	CID  string `arg:"" name:"cid" help:"Id of the disk."`
	Hint string `arg:"" help:"Path of its device, or JSON with what is known of it."`
}

func (h *hint) request() (request, error) {
	r := request{method: "add_persistent_disk", arguments: []any{h.CID, h.Hint}}
	var object map[string]any
	if json.Unmarshal([]byte(h.Hint), &object) == nil {
		r.arguments[1] = object
	}
	return r, nil
}

type taskCancel struct {
	ID string `arg:"" help:"Id of the task."`
}

func (t *taskCancel) request() (request, error) {
	return request{method: "cancel_task", arguments: []any{t.ID}}, nil
}

type upload struct {
	ID   string `arg:"" help:"Id of the blob."`
	File string `arg:"" help:"Its content; - is standard input."`
}

func (u *upload) request() (request, error) {
	if err := checkBlobID(u.ID); err != nil {
		return request{}, err
	}
	content, err := readText(u.File)
	if err != nil {
		return request{}, err
	}
	sum, err := digest.Of(strings.NewReader(content), digest.SHA1)
	return request{method: "upload_blob", arguments: []any{map[string]any{
		"blob_id": u.ID, "checksum": sum.String(), "payload": base64.StdEncoding.EncodeToString([]byte(content)),
	}}}, err
}

type call struct {
	Method    string   `arg:"" help:"Its name."`
	Arguments []string `arg:"" optional:"" help:"Each as JSON."`
}

func (c *call) request() (request, error) {
	r := request{method: c.Method}
	var errs []error
	for i, argument := range c.Arguments {
		if !json.Valid([]byte(argument)) {
			errs = append(errs, fmt.Errorf("%w: argument %d is no JSON: text needs quotes, as in '\"text\"'", errLocal, i+1))
			continue
		}
		r.arguments = append(r.arguments, json.RawMessage(argument))
	}
	return r, errors.Join(errs...)
}
