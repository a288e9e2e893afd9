package framework

import (
	"context"
	"fmt"
	"io/fs"
	"path"
)

type php struct{}

func (php) Name() string { return "php" }

// Stage has the app served by PHP itself. In the original form, that is Apache 2.2's work.
func (p php) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return Scripts{}, err
	}
	if t.Options.Original {
		return p.apache(ctx, t)
	}
	return Scripts{
		Startup: Startup{Command: fmt.Sprintf("%s -d memory_limit=%dM -S 0.0.0.0:$VCAP_APP_PORT -t .", rt, t.memory())},
		Stop:    stopChildren,
	}, nil
}

func (php) apache(ctx context.Context, t *Tree) (Scripts, error) {
	if t.resource("apache") == "" {
		t.Log("The droplet needs an Apache 2.2 tree with PHP 5, which the stager does not have: it does not start as it is.")
	} else if err := t.CopyResource(ctx, "apache", "apache"); err != nil {
		return Scripts{}, err
	}
	if err := t.Directories("apache/sites-available", "apache/sites-enabled"); err != nil {
		return Scripts{}, err
	}
	if err := t.putResource("apache/generate_apache_conf", "resources/generate_apache_conf", 0o755); err != nil {
		return Scripts{}, err
	}
	fragments, err := fs.Glob(resources, "resources/apache/php/*.ini")
	if err != nil {
		return Scripts{}, err
	}
	for _, name := range fragments {
		base := path.Base(name)
		if err := t.putResource("apache/php/"+base, "apache/php/"+base, 0o644); err != nil {
			return Scripts{}, err
		}
	}
	return Scripts{
		Startup: Startup{
			Hook:    fmt.Sprintf("env > env.log\nruby resources/generate_apache_conf $VCAP_APP_PORT $HOME $VCAP_SERVICES %dm", t.memory()),
			Dir:     "apache",
			Command: "bash ./start.sh",
		},
		Stop: stopChildren,
	}, nil
}
