package staging

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/staging/buildpack"
)

// The layout of a staging container (dea_ng), for the kinds of buildpack that do not ask for another root.
const (
	StagedDir = buildpack.StagedRoot // becomes the droplet
	AppDir    = "/tmp/staged/app"
	CacheDir  = "/tmp/cache"
	LogPath   = "/tmp/staged/logs/staging_task.log"
	InfoPath  = "/tmp/staged/" + droplet.InfoName
)

// DefaultTimeout is how long buildpacks may work (dea_ng).
const DefaultTimeout = 900 * time.Second

// A Task says what is to be staged. App and Droplet are required.
type Task struct {
	// App is the path on this machine of the app's source: a directory, a zip file, or a tar file, with gzip or
	// without. Modes, links and hidden files are kept, except that the owner gets access to everything.
	App string

	// Exclude tells what of App is left out where that is a directory, as droplet.PackOptions does: package cfignore has what
	// the cf CLI leaves out. Nil takes all.
	Exclude func(name string, dir bool) (exclude, prune bool)

	// Cache is the path of the cache that an earlier staging of the app has left, a tar file. Empty means that there is
	// none; one that cannot be read is passed over.
	Cache string

	// Which buildpack does the work is decided in this order (dea_ng):
	//
	//   - Custom, where there is one: it is forced, and its detect does not run. Several that the user forces in an order of
	//     his own are one Buildpack that package buildpack composes;
	//   - that of Buildpacks which has the key BuildpackKey, where that is given: forced as well. Where none has it, staging
	//     fails as if its compile had, and the log names the key;
	//   - else the first of Buildpacks whose detect takes the app.
	Custom       buildpack.Buildpack
	BuildpackKey string
	Buildpacks   []buildpack.Buildpack

	// StartCommand is the user's; it wins over the Procfile, which wins over the buildpack.
	StartCommand string

	Environment Environment

	// Timeout bounds what buildpacks do, from fetching them to their release; default DefaultTimeout. Unpacking and
	// packing are not counted (dea_ng): StepTimeout bounds each of these, default 15 minutes.
	Timeout     time.Duration
	StepTimeout time.Duration

	// Limits bound the content of the app and of the droplet, each for itself.
	Limits droplet.Limits

	// Format is that of the droplet; the default is Gzip, which everything reads.
	Format droplet.Format

	// Droplet gets the droplet. NewCache gets the cache for the next staging; nil means that nobody wants it. After an
	// error they may have received a part.
	Droplet  io.Writer
	NewCache io.Writer

	// CacheOptional lets a staging succeed whose cache cannot be packed, because of what a buildpack put there. The log
	// tells, NewCache has received a part of it, and Result.Cache is zero.
	CacheOptional bool

	// ModTime is given to all members of the droplet, and the log in the droplet is left empty, as it may tell times: the
	// same content gives the same droplet then, byte by byte. Zero keeps the times, which some apps need: of Python the
	// compiled files, of web servers the caching.
	ModTime time.Time
}

// Mounts returns what the container must show for the task's buildpacks.
func (t Task) Mounts() []container.BindMount {
	var mounts []container.BindMount
	for _, bp := range t.all() {
		for _, mount := range bp.Mounts() {
			if !slices.Contains(mounts, mount) {
				mounts = append(mounts, mount)
			}
		}
	}
	return mounts
}

func (t Task) all() []buildpack.Buildpack {
	if t.Custom != nil {
		return []buildpack.Buildpack{t.Custom}
	}
	return t.Buildpacks
}

// Parts are what Stage works with.
type Parts struct {
	// Container is where the buildpacks run: a fresh one, with Task.Mounts and the app user's home. It needs sh, chmod
	// and rm. The caller destroys it; Stage has stopped it when it returns.
	Container container.Container

	// Log records what people should see; nil means that only the droplet holds the log. The caller closes it.
	Log *Log

	// WatchDisk has the disk limit of the container watched while buildpacks work, for a back end that does not enforce it
	// (Capabilities.Disk).
	WatchDisk bool

	// Began is told the name of each step when it begins; nil tells nobody. It must not block.
	Began func(step string)

	Logger *slog.Logger // nil discards
}

// A Result tells what staging found out and made.
type Result struct {
	DetectedBuildpack string            // what detect printed; empty when it was not run
	BuildpackKey      string            // empty for a custom buildpack
	StartCommand      string            // empty when nobody told one
	ProcessTypes      map[string]string // the Procfile, else what the buildpack says; never nil
	EntrypointPrefix  string            // a program that runs the start command; empty where no buildpack asked for one
	Sidecars          []droplet.Sidecar
	Buildpacks        []droplet.BuildpackInfo // those that took part, in their order

	Droplet droplet.Digest
	Cache   droplet.Digest // zero without Task.NewCache, and where it could not be packed

	Steps []Step // all of them, in order
}

// A Step is a part of the work that was done.
type Step struct {
	Name string
	Took time.Duration
}

func (t Task) withDefaults() Task {
	t.Timeout = cmp.Or(t.Timeout, DefaultTimeout)
	t.StepTimeout = cmp.Or(t.StepTimeout, 15*time.Minute)
	return t
}

func (t Task) validate(parts Parts) error {
	var errs []error
	if t.App == "" {
		errs = append(errs, errors.New("Task.App is required"))
	}
	if t.Droplet == nil {
		errs = append(errs, errors.New("Task.Droplet is required"))
	}
	if t.Timeout < 0 || t.StepTimeout < 0 {
		errs = append(errs, errors.New("Task.Timeout and Task.StepTimeout must not be negative"))
	}
	if err := t.Environment.validate(); err != nil {
		errs = append(errs, err)
	}
	if parts.Container == nil {
		errs = append(errs, errors.New("Parts.Container is required"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return nil
}
