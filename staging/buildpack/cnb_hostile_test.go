package buildpack_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// Buildpacks that do what they must not: each ends in an error that tells what, and nothing of them is left.
func TestHostileCNB(t *testing.T) {
	launch := func(text string) string { return `printf '` + text + `' >"$1/launch.toml"` }
	for name, test := range map[string]struct {
		detect, build string
		want          string
		kind          staging.Kind
	}{
		"build fails":           {"", "echo sorry; exit 7", "bin/build of bp@1.0.0 exited with status 7", staging.CompileFailed},
		"layer is a link":       {"", `ln -s / "$1/x"; printf '[types]\nlaunch = true\n' >"$1/x.toml"`, "x of bp@1.0.0: a layer must be a directory", staging.CompileFailed},
		"layer is a file":       {"", `touch "$1/x"; printf '[types]\nbuild = true\n' >"$1/x.toml"`, "a layer must be a directory", staging.CompileFailed},
		"layer named ..":        {"", `printf '[types]\nlaunch = true\n' >"$1/...toml"`, "it names no directory", staging.CompileFailed},
		"layer without files":   {"", `printf '[types]\nlaunch = true\n' >"$1/x.toml"`, "x.toml of bp@1.0.0: types.launch: the layer has no directory", staging.CompileFailed},
		"types at the top":      {"", `mkdir "$1/x"; printf 'launch = true\n' >"$1/x.toml"`, "x.toml of bp@1.0.0: launch: belongs into the table types", staging.CompileFailed},
		"TOML bomb":             {"", `head -c 100000 /dev/zero | tr '\0' '[' | sed 's/^/metadata = /' >"$1/x.toml"`, "x.toml of bp@1.0.0: too large", staging.CompileFailed},
		"TOML of a gigabyte":    {"", `truncate -s 1G "$1/store.toml"`, "store.toml': File too large", staging.CompileFailed},
		"TOML is a FIFO":        {"", `mkfifo "$1/x.toml"; mkdir "$1/x"`, "", ""},
		"store is no TOML":      {"", `echo = >"$1/store.toml"`, "store.toml of bp@1.0.0", staging.CompileFailed},
		"two defaults":          {"", launch(`[[processes]]\ntype="a"\ncommand=["x"]\ndefault=true\n[[processes]]\ntype="b"\ncommand=["x"]\ndefault=true\n`), "launch.toml of bp@1.0.0: processes", staging.CompileFailed},
		"type with a shell":     {"", launch(`[[processes]]\ntype="$(id)"\ncommand=["x"]\n`), "processes[0].type", staging.CompileFailed},
		"NUL in a variable":     {"", `mkdir -p "$1/x/env"; printf 'a\0b' >"$1/x/env/A"; printf '[types]\nbuild = true\n' >"$1/x.toml"`, "env/A: has a NUL byte", staging.CompileFailed},
		"NUL at launch":         {"", `mkdir -p "$1/x/env.launch"; printf 'a\0b' >"$1/x/env.launch/A"; printf '[types]\nlaunch = true\n' >"$1/x.toml"`, "env.launch of bp@1.0.0/A: has a NUL byte", staging.CompileFailed},
		"many variables":        {"", `mkdir -p "$1/x/env"; (cd "$1/x/env" && seq -f 'V%g' 2500 | xargs touch); printf '[types]\nbuild = true\n' >"$1/x.toml"`, "more than 2000 files", staging.CompileFailed},
		"many layers":           {"", `cd "$1" && seq -f '%g.toml' 600 | xargs touch`, "more than 500 layers", staging.CompileFailed},
		"unasked unmet":         {"", `printf '[[unmet]]\nname = "x"\n' >"$1/build.toml"`, "unmet.name", staging.CompileFailed},
		"layers become a file":  {"", `rm -rf "$1/.."; touch "${1%/*}"`, "", staging.CompileFailed},
		"layers become a link":  {"", `rm -rf "${1%/*}"; ln -s / "${1%/*}"`, "", ""},
		"unwritable layers":     {"", `mkdir -p "$1/x/y" "$1/z/y"; printf '[types]\nlaunch = true\n' >"$1/x.toml"; chmod -R a-w "$1/x" "$1/z"`, "", ""},
		"closed directories":    {"", `mkdir -p "$1/x/y"; touch "$1/x/y/f"; chmod 0 "$1/x/y" "$1/x"`, "", ""},
		"plan bomb":             {`for i in $(seq 2000); do printf '[[or]]\n'; done >"$2"`, "", "err:  bp@1.0.0: build plan of bp@1.0.0: too large", staging.NoAppDetected},
		"plan is no TOML":       {`echo = >"$2"`, "", "build plan of bp@1.0.0", staging.NoAppDetected},
		"plan is gone":          {`rm "$2"`, "", "err:  bp@1.0.0", staging.NoAppDetected},
		"plan is a device":      {`rm "$2"; ln -s /dev/zero "$2"`, "", "err:  bp@1.0.0", staging.NoAppDetected},
		"detect floods":         {`yes | head -c 10000000; exit 100`, "", "fail: bp@1.0.0", staging.NoAppDetected},
		"detect hangs":          {`exec sleep 1000`, "", "", staging.TimedOut},
		"build hangs":           {"", `sleep 1000 & exec sleep 1000`, "", staging.TimedOut},
		"program cannot be run": {"", "remove", "bin/build of bp@1.0.0", staging.CompileFailed},
		"app becomes a link":    {"", `cd / && rm -rf "$OLDPWD" && ln -s / "$OLDPWD"`, "", ""},
		"variables of bash":     {"", `mkdir -p "$1/x/env"; printf 0 >"$1/x/env/UID"; printf x >"$1/x/env/a-b"; printf '[types]\nlaunch = true\n' >"$1/x.toml"`, "left out at launch: UID, a-b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bp := component("bp", "0.11", test.detect, test.build)
			if test.build == "remove" {
				bp["bin/build"] = "#!/no/such/interpreter\n"
			}
			s := newCNBStage(t, cnbApp, open(t, under(t, t.TempDir(), map[string]stagetest.Files{"": bp})))
			if test.kind == staging.TimedOut {
				s.task.Timeout = 1500 * time.Millisecond
			}
			s.task.Limits = droplet.Limits{MaxBytes: 64 << 20, MaxMembers: 10_000}
			if test.kind == "" {
				_, err := s.run(t, t.Context())
				if err != nil { // it may end either way, but not without an Error
					var failed *staging.Error
					assert.ErrorAs(t, err, &failed)
				}
				assert.Contains(t, s.log.String(), test.want)
				return
			}
			failed := s.fails(t, test.kind)
			if test.kind == staging.NoAppDetected {
				assert.Contains(t, s.log.String(), test.want)
			} else {
				assert.ErrorContains(t, failed, test.want)
			}
			assert.Less(t, s.log.Len(), 100<<10)
		})
	}
}

// Plans of several buildpacks with more combinations than anyone can try.
func TestCNBPlanBomb(t *testing.T) {
	files := map[string]stagetest.Files{}
	var ids []string
	for i := range 12 {
		id := fmt.Sprintf("b%d", i)
		ids = append(ids, id)
		files[id] = component(id, "0.10", `for i in 1 2 3 4 5 6 7 8; do printf '[[or]]\n[[or.provides]]\nname = "x%s"\n' $i; done >"$2"; printf '[[or]]\n[[or.provides]]\nname = "y"' >>"$2"; sed -i '1i [[provides]]\nname = "z"' "$2"`, "")
	}
	files[""] = stagetest.Files{"order.toml": groupsTOML(strings.Join(ids, " "))}
	s := newCNBStage(t, cnbApp, open(t, under(t, t.TempDir(), files)))
	_, err := s.run(t, t.Context())
	assert.ErrorContains(t, err, "too many combinations")
	var script *buildpack.ScriptError
	assert.ErrorAs(t, err, &script)
}
