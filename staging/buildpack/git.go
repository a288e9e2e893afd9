package buildpack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/internal/rmtree"
)

// GitOptions say how repositories are cloned. The zero value is useful.
type GitOptions struct {
	// Schemes that URLs and submodules may have; default https, http and git. Adding "ssh" lets people use the keys of
	// the account that this process runs under, "file" the repositories of this machine.
	Schemes []string

	// MaxBytes bounds what a clone may take on disk, looked at twice a second; default 2 GiB. A file, a directory or a
	// link takes at least 4 KiB.
	MaxBytes int64

	// Timeout bounds the clone as a whole; default 5 minutes.
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

// Git is a [Classic] buildpack from a git repository. It is cloned by Prepare, on the host and outside of the container:
// rules for the container's network do not hold for it.
type Git struct {
	Classic
	repository string // URL without fragment
	ref        string // branch, tag or commit; empty for the default branch
	opts       GitOptions
}

// refPattern takes names of branches, tags and commits, and nothing that git could take for an option.
var refPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,254}$`)

// NewGit returns the buildpack at a URL, whose fragment names a branch, a tag or a commit: "https://host/org/bp.git#v1.2". It
// will be cloned into a new directory below dir, which exists; whoever owns dir removes it when the container is gone.
// It fails with ErrGitURL.
func NewGit(rawURL, dir string, opts GitOptions) (*Git, error) {
	if len(opts.Schemes) == 0 {
		opts.Schemes = []string{"https", "http", "git"}
	}
	opts.MaxBytes = cmp.Or(opts.MaxBytes, 2<<30)
	opts.Timeout = cmp.Or(opts.Timeout, 5*time.Minute)
	opts.Program = cmp.Or(opts.Program, "git")
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: it cannot be parsed; give https://host/path#branch", ErrGitURL) // err has the URL
	case !slices.Contains(opts.Schemes, u.Scheme):
		return nil, fmt.Errorf("%w: scheme %q is none of %s", ErrGitURL, u.Scheme, strings.Join(opts.Schemes, ", "))
	case u.Scheme == "file" && u.Host != "", u.Scheme != "file" && u.Hostname() == "":
		return nil, fmt.Errorf("%w: host %q", ErrGitURL, u.Host)
	case strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.Username(), "-"): // ssh would take it for an option
		return nil, fmt.Errorf("%w: leading dash", ErrGitURL)
	case strings.ContainsFunc(rawURL, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, fmt.Errorf("%w: control character", ErrGitURL)
	case u.Fragment != "" && (!refPattern.MatchString(u.Fragment) || strings.Contains(u.Fragment, "..")):
		return nil, fmt.Errorf("%w: branch %.60q", ErrGitURL, u.Fragment)
	}
	ref := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	parent, err := os.MkdirTemp(dir, "buildpack-")
	if err != nil {
		return nil, fmt.Errorf("git buildpack: %w", err)
	}
	// The container shows the directory, so it is there before the files are.
	clone := filepath.Join(parent, cloneName(u.Path))
	if err := errors.Join(os.Chmod(parent, 0o755), os.Mkdir(clone, 0o755)); err != nil {
		return nil, fmt.Errorf("git buildpack: %w", err)
	}
	classic, err := NewClassic("", clone)
	if err != nil {
		return nil, err
	}
	return &Git{Classic: *classic, repository: u.String(), ref: ref, opts: opts}, nil
}

// cloneName is the base name of the path without its last extension, where that can be the name of a directory.
func cloneName(p string) string {
	base := path.Base(p)
	base = strings.TrimSuffix(base, path.Ext(base))
	if !keyPattern.MatchString(base) {
		return "buildpack"
	}
	return base
}

// URL of the repository, without user info and fragment.
func (g *Git) URL() string { return redact(g.repository) }

func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(unreadable URL)"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// Prepare clones the repository with its submodules: of the branch or tag only the last commit, or, when there is none of
// that name, everything, to check out the commit (dea_ng). It fails with a [*GitError], and tells the log. git runs with no
// configuration, asks nobody for a password and is killed with all its children when ctx ends.
func (g *Git) Prepare(ctx context.Context, b Build) error {
	ctx, cancel := context.WithTimeoutCause(ctx, g.opts.Timeout, fmt.Errorf("it took longer than %v", g.opts.Timeout))
	defer cancel()
	fmt.Fprintf(b.Log, "-----> Cloning buildpack %s\n", g.URL())
	err := g.clone(ctx)
	if err == nil {
		err = publish(filepath.Dir(g.dir))
	}
	if err != nil {
		fmt.Fprintln(b.Log, err)
	}
	return err
}

func (g *Git) clone(ctx context.Context) error {
	shallow := []string{"--depth", "1", "--shallow-submodules"}
	if g.ref != "" {
		shallow = append(shallow, "--branch="+g.ref)
	}
	err := g.cloneWith(ctx, shallow...)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if err := g.cloneWith(ctx); err != nil || g.ref == "" {
		return err
	}
	if err := g.git(ctx, "checkout", "--quiet", g.ref, "--"); err != nil {
		return err
	}
	return g.git(ctx, "submodule", "--quiet", "update", "--init", "--recursive", "--force")
}

func (g *Git) cloneWith(ctx context.Context, flags ...string) error {
	if err := g.empty(); err != nil {
		return fmt.Errorf("git buildpack: %w", err)
	}
	args := append([]string{"clone", "--quiet", "--recurse-submodules", "--template="}, flags...)
	return g.git(ctx, append(args, "--", g.repository, g.dir)...)
}

// empty removes what a failed clone left in the directory. The directory itself stays: the container shows it.
func (g *Git) empty() error {
	root, err := os.OpenRoot(g.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := rmtree.In(root, name); err != nil {
			return err
		}
	}
	return nil
}

// git runs a git command in the clone. Of the environment it gets what is needed to reach a server.
func (g *Git) git(ctx context.Context, args ...string) error {
	ctx, stop := g.watch(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, g.opts.Program, append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false",
	}, args...)...)
	cmd.Dir = g.dir
	cmd.Env = []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false", "SSH_ASKPASS=false", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes", "GIT_ALLOW_PROTOCOL=" + strings.Join(g.opts.Schemes, ":"), "LC_ALL=C",
	}
	for _, name := range []string{"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	// Helpers of git are of its process group, and go with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &GitError{Command: args[0], URL: g.URL(), Output: g.scrub(string(output.kept)), Err: err}
}

// userInfo finds the user info of URLs in text.
var userInfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]*@`)

// scrub makes one line without credentials of what git said.
func (g *Git) scrub(text string) string {
	text = strings.ReplaceAll(text, g.repository, g.URL())
	if _, query, ok := strings.Cut(g.repository, "?"); ok && query != "" { // git itself takes out the user info only
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
