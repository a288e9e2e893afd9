package lifecycle

import (
	"errors"
	"flag"
	"strings"
	"time"
)

// BuilderConfig is what [Build] is told. [DefaultBuilderConfig] has the defaults; all fields must be set.
type BuilderConfig struct {
	BuildDir                  string // the source of the app, unpacked; buildpacks change it in place
	OutputDroplet             string // the file that becomes the droplet
	OutputMetadata            string // the file that tells the result as JSON
	OutputBuildArtifactsCache string // the file that becomes the cache, packed
	BuildpacksDir             string // has the buildpacks named by key, each in the directory [buildpack.Hash]
	BuildpacksDownloadDir     string // gets those named by URL
	BuildArtifactsCacheDir    string // the cache that an earlier build has left, unpacked; may be missing

	BuildpackOrder []string // keys or absolute URLs, tried in this order
	SkipDetect     bool     // take all of them, the last one as the final one, instead of the first that detects the app
	SkipCertVerify bool     // for downloads of zip files; git checks certificates in any case

	CredHub CredHubOptions
}

// CredHubOptions say how long to try to reach CredHub.
type CredHubOptions struct {
	Attempts int           // default 3; at least one is made
	Delay    time.Duration // between two of them; default 1 s
}

// DefaultBuilderConfig returns the defaults of the original. There is none for BuildpackOrder.
func DefaultBuilderConfig() BuilderConfig {
	return BuilderConfig{
		BuildDir:                  "/tmp/app",
		OutputDroplet:             "/tmp/droplet",
		OutputMetadata:            "/tmp/result.json",
		OutputBuildArtifactsCache: "/tmp/output-cache",
		BuildpacksDir:             "/tmp/buildpacks",
		BuildpacksDownloadDir:     "/tmp/buildpackdownloads",
		BuildArtifactsCacheDir:    "/tmp/cache",
		CredHub:                   defaultCredHub,
	}
}

var defaultCredHub = CredHubOptions{Attempts: 3, Delay: time.Second}

func (c *CredHubOptions) flags(flags *flag.FlagSet) {
	flags.IntVar(&c.Attempts, "credhubConnectAttempts", c.Attempts, "how often to try to reach CredHub")
	flags.DurationVar(&c.Delay, "credhubRetryDelay", c.Delay, "how long to wait between two attempts")
}

// flags returns the command line of the builder, which sets c.
func (c *BuilderConfig) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	for _, f := range []struct {
		value       *string
		name, usage string
	}{
		{&c.BuildDir, "buildDir", "directory with the source of the app, unpacked; it is changed in place"},
		{&c.OutputDroplet, "outputDroplet", "file to write the droplet to"},
		{&c.OutputMetadata, "outputMetadata", "file to write the result to, as JSON"},
		{&c.OutputBuildArtifactsCache, "outputBuildArtifactsCache", "file to write the packed cache to"},
		{&c.BuildpacksDir, "buildpacksDir", "directory with the buildpacks that are named by key, each in a subdirectory named by the xxHash64 or the MD5 digest of its key"},
		{&c.BuildpacksDownloadDir, "buildpacksDownloadDir", "directory for the buildpacks that are named by URL"},
		{&c.BuildArtifactsCacheDir, "buildArtifactsCacheDir", "directory with the cache of an earlier build, unpacked"},
	} {
		flags.StringVar(f.value, f.name, *f.value, f.usage)
	}
	flags.Var((*list)(&c.BuildpackOrder), "buildpackOrder", "keys or URLs of buildpacks, in their order, with commas between them")
	flags.BoolVar(&c.SkipDetect, "skipDetect", c.SkipDetect, "take all buildpacks, the last one as the final one, and detect nothing")
	flags.BoolVar(&c.SkipCertVerify, "skipCertVerify", c.SkipCertVerify, "do not verify the certificates of servers that zip files come from")
	c.CredHub.flags(flags)
	return flags
}

// list is a flag with commas between its values.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = nil
	if text != "" {
		*l = strings.Split(text, ",")
	}
	return nil
}

// validate names the flags that have no value, in their order (buildpackapplifecycle).
func (c BuilderConfig) validate() error {
	var missing []string
	c.flags("builder").VisitAll(func(f *flag.Flag) {
		if f.Value.String() == "" {
			missing = append(missing, "missing flag: -"+f.Name)
		}
	})
	if missing != nil {
		return errors.New(strings.Join(missing, ", "))
	}
	return nil
}
