package stager_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// gone tells whether a process has ended. One that nobody has waited for yet has.
func gone(t testing.TB, pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	require.NoError(t, err)
	_, state, _ := strings.Cut(string(stat), ") ")
	return state[0] == 'Z' || state[0] == 'X'
}

// TestTimeIsBounded: whatever a program has started ends with it.
func TestTimeIsBounded(t *testing.T) {
	dir := t.TempDir()
	script := fmt.Sprintf("echo $$ >%[1]s/self; sleep 1000 & echo $! >%[1]s/child; setsid sleep 1000 & echo $! >%[1]s/session; echo asleep; wait", dir)
	p := newPlant(t, with(script), func(p *plant) { p.cfg.MaxDuration = short })
	answer, _ := p.send(p.request()).answer()
	p.clean()
	assert.Equal(t, "Staging task failed:\n Staging timed out after 3 seconds.", answer.Error)
	records := texts(t, answer.TaskLog)
	assert.Equal(t, []string{"asleep", "Staging timed out after 3 seconds."}, records[len(records)-2:])
	for _, name := range []string{"self", "child", "session"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		assert.True(t, gone(t, pid), name)
	}
	assert.Empty(t, p.cloud.posted("/droplet/1/u7").data)
}

// TestTimeOfTransfersIsBounded: the original bounded the plugin alone, on paper.
func TestTimeOfTransfersIsBounded(t *testing.T) {
	for _, path := range []string{"/app", "/droplet/1/u7"} {
		p := newPlant(t, with(), func(p *plant) { p.cfg.MaxDuration = short })
		p.cloud.handle(path, hang)
		answer, _ := p.send(p.request()).answer()
		p.clean()
		assert.Equal(t, "Staging task failed:\n Staging timed out after 3 seconds.", answer.Error, path)
	}
}

// TestProgramsThatFail: what they say on standard error is told; where that is nothing, what they say else.
func TestProgramsThatFail(t *testing.T) {
	for script, want := range map[string]string{
		"echo told; echo why >&2; echo more >&2; exit 3": "why\nmore\nIt broke (exit status 3).",
		"echo told; exit 4": "told\nIt broke (exit status 4).",
		"exit 5":            "It broke (exit status 5).",
		"yes '0123456789' | head -c 20000 >&2; exit 6": "It broke (exit status 6).",
	} {
		p := newPlant(t, with(script))
		answer, _ := p.send(p.request()).answer()
		p.clean()
		assert.True(t, strings.HasPrefix(answer.Error, "Staging task failed:\n Staging plugin failed: "), answer.Error)
		assert.True(t, strings.HasSuffix(answer.Error, want), answer.Error)
		assert.Less(t, len(answer.Error), 10_000)
		words := strings.TrimPrefix(answer.Error, "Staging task failed:\n ")
		assert.Regexp(t, recordTime+`$`, strings.TrimSuffix(answer.TaskLog, words+"\n"), "the log ends with it")
	}
}

// TestMemoryIsBounded: what a program takes too much is told as its failure.
func TestMemoryIsBounded(t *testing.T) {
	p := newPlant(t, with("head -c 300000000 /dev/zero | tail; sleep 1000"), func(p *plant) { p.cfg.MemoryMB = 64 })
	answer, _ := p.send(p.request()).answer()
	p.clean()
	assert.Equal(t, "Staging task failed:\n Staging plugin failed: the staging container ran out of memory", answer.Error)
}

func TestLogIsBounded(t *testing.T) {
	p := newPlant(t, with("yes a line that is said again and again | head -c 1000000"))
	answer, _ := p.send(p.request()).answer()
	assert.Empty(t, answer.Error)
	records := texts(t, answer.TaskLog)
	assert.Less(t, len(answer.TaskLog), 150_000)
	assert.Equal(t, []string{
		"The log has more than 131072 bytes, the rest is left out.", "Creating droplet", "Uploading droplet", "Done!",
	}, records[len(records)-4:])
}

func TestTasksTakeTurns(t *testing.T) {
	first, second := newGate(t), newGate(t)
	p := newPlant(t, func(p *plant) {
		p.cfg.MaxActive, p.cfg.MaxWaiting = 1, 1
		with(fmt.Sprintf("if test -e %s/begun; then %s; else %s; fi", first.dir, second.script(), first.script()))(p)
	})
	a := p.send(p.request())
	soon(t, "the first one works", first.begun)
	b := p.send(p.request())
	soon(t, "the second one waits", func() bool { return p.queue.Waiting() == 1 })
	refused, _ := p.send(p.request()).answer()
	assert.Equal(t, "Staging task failed:\n 1 requests wait here already; try again later", refused.Error)
	assert.False(t, second.begun())
	assert.Equal(t, 1, p.queue.Active())
	a.none()
	first.open(t)
	answer, _ := a.answer()
	assert.Empty(t, answer.Error)
	soon(t, "the second one works", second.begun)
	second.open(t)
	answer, _ = b.answer()
	assert.Empty(t, answer.Error)
	p.clean()
}

// TestEndOfAStager: what it has taken it finishes; what comes later nobody takes.
func TestEndOfAStager(t *testing.T) {
	for _, abort := range []bool{false, true} {
		g := newGate(t)
		p := newPlant(t, func(p *plant) { p.cfg.MaxActive = 1 }, with(g.script()))
		works := p.send(p.request())
		soon(t, "a task works", g.begun)
		waits := p.send(p.request())
		p.end()
		soon(t, "nobody listens", func() bool {
			_, err := p.conn.Request("staging", []byte(`{}`), patience)
			return errors.Is(err, nats.ErrNoResponders)
		})
		soon(t, "it says so", func() bool { return strings.Contains(p.log.String(), "Waiting for remaining 2 task(s) to finish.") })
		want := ""
		if abort {
			p.queue.Abort()
			want = "Staging task failed:\n The stager was stopped before the task had ended"
		} else {
			g.open(t)
		}
		<-p.ended
		for _, w := range []waiter{works, waits} {
			answer, _ := w.answer()
			assert.Equal(t, want, answer.Error)
		}
		p.clean()
		assert.Contains(t, p.log.String(), "Shutdown complete")
	}
}

// TestBaseDirectoryThatIsShared: a stager removes what a dead one left, and nothing else.
func TestBaseDirectoryThatIsShared(t *testing.T) {
	g := newGate(t)
	p := newPlant(t, with(g.script()))
	w := p.send(p.request())
	soon(t, "a task works", g.begun)
	base := p.cfg.BaseDir
	left := filepath.Join(base, "deakit-staging-123")
	require.NoError(t, os.MkdirAll(filepath.Join(left, "unstaged"), 0o500))
	strange := filepath.Join(base, "somebody's")
	require.NoError(t, os.Mkdir(strange, 0o700))
	newPlant(t, func(other *plant) { other.cfg.BaseDir = base })
	assert.NoDirExists(t, left)
	assert.DirExists(t, strange)
	g.open(t)
	answer, _ := w.answer()
	assert.Empty(t, answer.Error, "its workspace was left alone")
	require.NoError(t, os.Remove(strange))
	p.clean()
}

func TestOldQueue(t *testing.T) {
	for _, on := range []bool{true, false} {
		p := newPlant(t, func(p *plant) { p.cfg.Old = on })
		answers, err := p.conn.SubscribeSync("cc.result.*")
		require.NoError(t, err)
		notify := func(n string) []string { return []string{`"app_id"`, `"notify_subj": "cc.result.` + n + `", "app_id"`} }
		requests := []string{
			p.request(notify("1")...),
			p.request(append(notify("2"), "/app", "/none")...),
			p.request(append(notify("3"), `"name": "sinatra"`, `"name": "spring"`, `"executable": "ruby"`, `"executable": "/bin/true"`)...),
			p.request(append(notify("4"), `"name": "sinatra"`, `"name": "cobol"`)...),
			`{"notify_subj": "cc.result.5"}`,
			`{"download_uri": 1, "notify_subj": "cc.result.6"}`,
			p.request(append(notify("> x"), "/app", "/none")...), // no subject
			p.request("/app", "/none"),                           // nobody to tell
		}
		for _, r := range requests {
			require.NoError(t, p.conn.Publish("vcap.stager.staging", []byte(r)))
		}
		require.NoError(t, p.conn.Flush())
		if on {
			soon(t, "the last two cannot be told", func() bool { return strings.Count(p.log.String(), "nobody can be told") == 2 })
		}
		want := map[string]string{}
		if on {
			want = map[string]string{
				"cc.result.1": `^$`, "cc.result.2": `^{"class":"VCAP::Stager::AppDownloadError"}$`,
				"cc.result.3": `^{"class":"VCAP::Stager::StagingPluginError","details":"Web application staging failed: web.xml not found"}$`,
				"cc.result.4": `^{"class":"VCAP::Stager::TaskError","details":"unknown framework: .*"}$`,
				"cc.result.5": `^{"class":"VCAP::Stager::TaskError","details":".* download_uri is required; .*"}$`,
				"cc.result.6": `^{"class":"VCAP::Stager::TaskError","details":".* download_uri must not be a number"}$`,
			}
		}
		for range len(want) {
			msg, err := answers.NextMsg(patience)
			require.NoError(t, err)
			answer, err := messaging.StagerQueue("").DecodeAnswer(msg.Data)
			require.NoError(t, err)
			require.Contains(t, want, msg.Subject)
			assert.Regexp(t, want[msg.Subject], answer.Error, msg.Subject)
			delete(want, msg.Subject)
		}
		p.stop()
		n, _, err := answers.Pending()
		require.NoError(t, err)
		assert.Zero(t, n)
		p.clean()
	}
}

// TestQueueOfBuildpacks is the framework that leaves the work to buildpacks.
func TestQueueOfBuildpacks(t *testing.T) {
	opened := func(files stagetest.Files) buildpack.Buildpack {
		bp, err := buildpack.Open("", files.Dir(t))
		require.NoError(t, err)
		return bp
	}
	p := newPlant(t, func(p *plant) {
		p.parts.Buildpacks = []buildpack.Buildpack{
			opened(stagetest.Scripts("exit 1", "exit 9", "")),
			opened(stagetest.Scripts("test -e $1/app.rb", "echo compiled by a buildpack", "echo 'default_process_types: {web: run it}'")),
		}
		p.cfg.Archive = buildpack.ArchiveOptions{}
	})
	answer, _ := p.send(p.request(`"name": "sinatra"`, `"name": "buildpack"`)).answer()
	require.Empty(t, answer.Error)
	assert.Contains(t, texts(t, answer.TaskLog), "compiled by a buildpack")
	startup := stagetest.ReadTgz(t, p.cloud.posted("/droplet/1/u7").data)["./startup"]
	assert.Contains(t, startup, "(run it) > $DROPLET_BASE_DIR/logs/stdout.log")
	p.clean()

	p.cloud.serve("/app", stagetest.Files{"other": "x"}.Zip(t))
	answer, _ = p.send(p.request(`"name": "sinatra"`, `"name": "buildpack"`)).answer()
	assert.Equal(t, "Staging task failed:\n Staging plugin failed: Unable to detect a supported application type", answer.Error)

	p.cloud.serve("/bp.zip", stagetest.Scripts("exit 1", "echo named", "echo 'default_process_types: {web: run that}'").Zip(t))
	answer, _ = p.send(p.request(`"name": "sinatra"`, `"name": "buildpack"`, `"services"`, `"buildpack": "`+p.cloud.url("/bp.zip")+`", "services"`)).answer()
	require.Empty(t, answer.Error)
	assert.Contains(t, texts(t, answer.TaskLog), "named")
	p.clean()
}

// TestRuntimeThatIsNotHere: it is the DEA that needs it, unless something has to run while staging.
func TestRuntimeThatIsNotHere(t *testing.T) {
	absent := []string{`"name": "ruby19", "executable": "ruby"`, `"name": "r", "executable": "/absent/ruby"`}
	p := newPlant(t)
	answer, _ := p.send(p.request(absent...)).answer()
	assert.Empty(t, answer.Error)
	assert.Contains(t, answer.TaskLog, "The app can be staged, and needs a runtime that is not here")
	p.clean()

	p = newPlant(t, with("echo ran"))
	answer, _ = p.send(p.request(absent...)).answer()
	assert.Contains(t, answer.Error, "Staging plugin failed: runtime \"r\": the runtime is not installed")
	p = newPlant(t, func(p *plant) { p.cfg.Frameworks = framework.BuildpackOptions{Strict: true} })
	answer, _ = p.send(p.request(absent...)).answer()
	assert.Contains(t, answer.Error, "Staging plugin failed: runtime \"r\": the runtime is not configured")
}

// TestDropletWithoutApp: those of Java have their app elsewhere.
func TestDropletWithoutApp(t *testing.T) {
	p := newPlant(t)
	p.cloud.serve("/app", stagetest.Files{"WEB-INF/web.xml": "<web-app/>", "index.html": "x"}.Zip(t))
	answer, _ := p.send(p.request(`"name": "sinatra"`, `"name": "java_web"`, `"executable": "ruby"`, `"executable": "/bin/true"`)).answer()
	require.Empty(t, answer.Error, answer.TaskLog)
	members := stagetest.ReadTgz(t, p.cloud.posted("/droplet/1/u7").data)
	assert.Equal(t, "x", members["./tomcat/webapps/ROOT/index.html"])
}

// ofUser returns the processes of a user.
func ofUser(t testing.TB, uid string) (pids []string) {
	files, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(t, err)
	for _, name := range files {
		status, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(status), "\nUid:\t"+uid+"\t") && !strings.Contains(string(status), "\nState:\tZ") {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

// TestSecureMode: what an app brings along runs under an account that is not the stager's, and what it leaves behind ends.
func TestSecureMode(t *testing.T) {
	backend := runcBackend(t)
	script := "id -u >app/uid; setsid sleep 1000 >/dev/null 2>&1 & :"
	p := newPlant(t, with(script), func(p *plant) { p.parts.Backend, p.cfg.Secure = backend, true })
	for range 2 {
		answer, _ := p.send(p.request()).answer()
		require.Empty(t, answer.Error, answer.TaskLog)
		p.clean()
	}
	uid := strings.TrimSpace(stagetest.ReadTgz(t, p.cloud.posted("/droplet/1/u7").data)["./app/uid"])
	assert.NotEqual(t, strconv.Itoa(os.Getuid()), uid)
	assert.Empty(t, ofUser(t, uid))
	assert.NotEmpty(t, ofUser(t, strconv.Itoa(os.Getuid())), "the test sees processes")
}
