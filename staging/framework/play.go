package framework

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
)

// play is for what "play dist" of Play 2.0 makes: a directory with a script called start.
type play struct{}

func (play) Name() string { return "play" }

func (play) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	dist, err := playDist(t)
	if err != nil {
		return Scripts{}, err
	}
	if err := t.CopyApp(ctx, dist, "app"); err != nil {
		return Scripts{}, err
	}
	start, there, err := t.Read("app/start")
	switch {
	case err != nil:
		return Scripts{}, err
	case !there:
		return Scripts{}, wrong("Play application staging failed: %s has no start script", dist)
	}
	t.Log("Play 2.0 wants Java 6 or 7. It does not start with those of today.")
	if err := copyDrivers(ctx, t, "app/lib"); err != nil {
		return Scripts{}, err
	}
	added, err := addAutoconfig(ctx, t, "app/lib")
	if err != nil {
		return Scripts{}, err
	}
	text := string(start)
	if added {
		text = strings.ReplaceAll(text, "play.core.server.NettyServer", "org.cloudfoundry.reconfiguration.play.Bootstrap")
	}
	if err := t.Write("app/start", text, 0o744); err != nil {
		return Scripts{}, err
	}
	return Scripts{Startup: Startup{
		Command: fmt.Sprintf("./start %s -Dhttp.port=$VCAP_APP_PORT -Djava.io.tmpdir=$PWD/tmp $JAVA_OPTS", javaMemory(t)),
	}}, nil
}

// playDist returns the one directory of the source.
func playDist(t *Tree) (string, error) {
	entries, err := fs.ReadDir(t.app.FS(), ".")
	if err != nil {
		return "", err
	}
	dist, names := "", 0
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if names++; entry.IsDir() {
			dist = entry.Name()
		}
	}
	if dist == "" || names != 1 {
		return "", wrong("Play application staging failed: the app must be a single directory, as play dist makes it")
	}
	return dist, nil
}
