package buildpack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// GitOptions say how repositories are cloned. The zero value is useful.
type GitOptions struct {
	// Schemes that URLs and submodules may have; default https, http and git. Adding "ssh" lets people use the keys of
	// the account that this process runs under, "file" the repositories of this machine.
	Schemes []string

	// MaxBytes bounds what a clone may take on disk, looked at twice a second; default 2 GiB. A file, a directory or a
	// link takes at least 4 KiB.
	MaxBytes int64

	// MaxMemory bounds the address space of each process of git; default 1 GiB. A repository can be made to need any amount.
	MaxMemory int64

	// Timeout bounds the clone as a whole; default 5 minutes. One over HTTP ends earlier when nothing comes for a minute.
	Timeout time.Duration

	// Program is the path of git; empty finds it in the PATH of this process.
	Program string
}

// ErrGitURL means that the URL of a repository, or the name of the branch behind it, cannot be used.
var ErrGitURL = errors.New("git URL is refused")

// A GitError tells that git failed. Its text has no credentials.
type GitError struct {
	Command string // "clone" or "checkout"
	URL     string // without user info
	Output  string // the last lines of what git said
	Err     error
}

func (e *GitError) Error() string {
	text := fmt.Sprintf("Git %s failed: %s: %v", e.Command, e.URL, e.Err)
	if e.Output != "" {
		text += ": " + e.Output
	}
	return text
}

// Unwrap returns Err.
func (e *GitError) Unwrap() error { return e.Err }

// refPattern takes names of branches, tags and commits, and nothing that git could take for an option.
var refPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,254}$`)

// NewGit returns the buildpack at a URL, whose fragment names a branch, a tag or a commit: "https://host/org/bp.git#v1.2". It
// will be cloned into a new directory below dir, which exists; whoever owns dir removes it when the container is gone.
// It fails with ErrGitURL.
//
// The clone is made on the host and outside of the container: rules for the container's network do not hold for it. User
// info of the URL goes to its scheme, host and port alone, and shows neither in the list of processes nor in the clone; its
// query does show in the former. Prepare fails with a [*GitError].
func NewGit(rawURL, dir string, opts GitOptions) (*Fetched, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be parsed; give https://host/path#branch", ErrGitURL) // err has the URL
	}
	ref := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	return newGit(Source{Kind: GitRepository, Location: u.String(), Ref: ref}, dir, opts)
}

func newGit(s Source, dir string, opts GitOptions) (*Fetched, error) {
	if len(opts.Schemes) == 0 {
		opts.Schemes = []string{"https", "http", "git"}
	}
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 2<<30)
	opts.MaxMemory = cmp.Or(opts.MaxMemory, 1<<30)
	opts.Timeout = cmp.Or(opts.Timeout, 5*time.Minute)
	opts.Program = cmp.Or(opts.Program, "git")
	u, err := url.Parse(s.Location)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be parsed; give https://host/path#branch", ErrGitURL)
	}
	if err := checkGitURL(u, s.Ref, opts.Schemes); err != nil {
		return nil, err
	}
	g := &repository{source: s.String(), ref: s.Ref, opts: opts}
	if u.User != nil && (u.Scheme == "http" || u.Scheme == "https") {
		g.user = u.User.Username()
		g.password, _ = u.User.Password()
		g.realm = u.Scheme + "://" + u.Host
	}
	switch { // ssh asks for the user's name elsewhere, and never takes a password
	case u.Scheme == "ssh" && u.User != nil:
		u.User = url.User(u.User.Username())
	default:
		u.User = nil
	}
	g.url = u.String()
	base := path.Base(u.Path)
	return newFetched(g.source, dir, strings.TrimSuffix(base, path.Ext(base)), g.fetch)
}

// checkGitURL refuses URLs and names of branches that git or its helpers would take for something else.
func checkGitURL(u *url.URL, ref string, schemes []string) error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	password, _ := u.User.Password()
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("%w: scheme %q is none of %s", ErrGitURL, u.Scheme, strings.Join(schemes, ", "))
	case u.Scheme == "file" && u.Host != "", u.Scheme != "file" && u.Hostname() == "":
		return fmt.Errorf("%w: host %q", ErrGitURL, u.Host)
	case strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.Username(), "-"): // ssh would take it for an option
		return fmt.Errorf("%w: leading dash", ErrGitURL)
	case strings.ContainsFunc(u.Path+u.User.Username()+password, control):
		return fmt.Errorf("%w: control character", ErrGitURL)
	case ref != "" && (!refPattern.MatchString(ref) || strings.Contains(ref, "..")):
		return fmt.Errorf("%w: branch %.60q", ErrGitURL, ref)
	}
	return nil
}

// A repository is where git clones from.
type repository struct {
	source         string // for people
	url            string // without fragment, and without what follows
	user, password string // empty where the URL has none
	realm          string // whom they are for: scheme, host and port
	ref            string // branch, tag or commit; empty for the default branch
	opts           GitOptions
}

// fetch clones the repository with its submodules: of the branch or tag only the last commit, or, when there is none of
// that name, everything, to check out the commit (dea_ng). git runs with no configuration, asks nobody for a password and
// is killed with all its children when ctx ends.
func (g *repository) fetch(ctx context.Context, dir string, log io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.opts.Timeout, fmt.Errorf("it took longer than %v", g.opts.Timeout))
	defer cancel()
	fmt.Fprintf(log, "-----> Cloning buildpack %s\n", redact(g.url))
	shallow := []string{"--recurse-submodules", "--depth", "1", "--shallow-submodules"}
	if g.ref != "" {
		shallow = append(shallow, "--branch="+g.ref)
	}
	err := g.clone(ctx, dir, shallow...)
	switch {
	case err == nil || ctx.Err() != nil || errors.Is(err, errTooLarge): // all of it would be larger still
		return err
	case g.ref == "":
		return g.clone(ctx, dir, "--recurse-submodules")
	}
	// The submodules are those of what is checked out, not those of the default branch.
	if err := g.clone(ctx, dir, "--no-checkout"); err != nil {
		return err
	}
	if err := g.git(ctx, dir, "checkout", "--quiet", g.ref, "--"); err != nil {
		return err
	}
	return g.git(ctx, dir, "submodule", "--quiet", "update", "--init", "--recursive")
}

// clone clones into dir in place of what is there.
func (g *repository) clone(ctx context.Context, dir string, flags ...string) error {
	if err := empty(dir); err != nil {
		return fmt.Errorf("git buildpack: %w", err)
	}
	args := append([]string{"clone", "--quiet", "--template="}, flags...)
	return g.git(ctx, dir, append(args, "--", g.url, dir)...)
}

// git runs a git command in the clone.
func (g *repository) git(ctx context.Context, dir string, args ...string) error {
	ctx, stop := g.watch(ctx, dir)
	defer stop()
	program, err := exec.LookPath(g.opts.Program)
	if err != nil {
		return &GitError{Command: args[0], URL: redact(g.url), Err: fmt.Errorf("%w; install git", err)}
	}
	// The limit of the shell is that of all that it becomes and starts.
	shell := []string{"-c", `ulimit -v "$0" && exec "$@"`, strconv.FormatInt(g.opts.MaxMemory>>10, 10), program}
	cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat(shell, g.config(), args)...)
	cmd.Dir, cmd.Env = dir, g.environment()
	// Helpers of git are of its process group, and go with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &GitError{Command: args[0], URL: redact(g.url), Output: g.scrub(string(output.kept)), Err: err}
}

// helper gives git the user info, which is in the environment: everyone sees the arguments of a process.
const helper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$BUILDPACK_USER" "$BUILDPACK_PASSWORD"; }; f`

// config are the flags of every git command: nothing of the repository is run, and memory is used with care.
func (g *repository) config() (flags []string) {
	settings := []string{
		"core.hooksPath=/dev/null", "core.fsmonitor=false", "advice.detachedHead=false", "gc.auto=0",
		"http.lowSpeedLimit=1", "http.lowSpeedTime=60",
		"core.bigFileThreshold=16m", "core.packedGitWindowSize=16m", "core.packedGitLimit=128m", "core.deltaBaseCacheLimit=64m",
		"pack.threads=1", "index.threads=1",
	}
	if g.realm != "" {
		settings = append(settings, "credential."+g.realm+".helper="+helper)
	}
	for _, setting := range settings {
		flags = append(flags, "-c", setting)
	}
	return flags
}

// environment is what git needs to reach a server, and nothing else of ours.
func (g *repository) environment() []string {
	env := []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false", "SSH_ASKPASS=false", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes", "GIT_ALLOW_PROTOCOL=" + strings.Join(g.opts.Schemes, ":"), "LC_ALL=C",
	}
	if g.realm != "" {
		env = append(env, "BUILDPACK_USER="+g.user, "BUILDPACK_PASSWORD="+g.password)
	}
	for _, name := range []string{"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// userInfo finds the user info of URLs in text.
var userInfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]*@`)

// scrub makes one line without credentials of what git said.
func (g *repository) scrub(text string) string {
	if _, query, ok := strings.Cut(g.url, "?"); ok && query != "" {
		text = strings.ReplaceAll(text, "?"+query, "")
	}
	text = userInfo.ReplaceAllString(text, "$1")
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
}

// tail keeps the last bytes that are written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2 << 10
	t.kept = append(t.kept, p...)
	t.kept = slices.Delete(t.kept, 0, max(len(t.kept)-most, 0))
	return len(p), nil
}
