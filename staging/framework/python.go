package framework

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/words"
)

const gunicornConfig = `import os
bind = "0.0.0.0:%s" % os.environ['VCAP_APP_PORT']
loglevel = "debug"
`

// stagePython copies the app and makes the configuration of the server that runs it. It returns whether the app has
// requirements.
func stagePython(ctx context.Context, t *Tree) (requirements bool, err error) {
	if err := t.CopyApp(ctx, ".", "app"); err != nil {
		return false, err
	}
	if err := t.Write("gunicorn.config", gunicornConfig, 0o644); err != nil {
		return false, err
	}
	if requirements = t.Has("app/requirements.txt"); t.Options.Original {
		return requirements, nil
	}
	if err := t.putResource("python/serve.py", "resources/serve.py", 0o644); err != nil {
		return false, err
	}
	if requirements {
		t.Run(Program{Dir: ".", Script: `echo "Installing requirements"
` + rt + ` -m pip install --disable-pip-version-check --target python -r app/requirements.txt || {
  echo "Failed installing requirements: the app has to do with the modules of the runtime"
}`})
	}
	return requirements, nil
}

// pipHook installs packages at each start (PEP 370), as the original did.
func pipHook(packages ...string) string {
	hook := `DIR="$( cd "$( dirname "$0" )" && pwd )"` + "\nexport PYTHONUSERBASE=$DIR/python"
	for _, name := range packages {
		hook += fmt.Sprintf("\npip install --user %s >> logs/startup.log 2>&1", name)
	}
	return hook
}

const pipRequirements = "pip install --user -r requirements.txt >> ../logs/startup.log 2>&1\n"

// pythonEnv finds the modules that were installed when the app was staged, and prints at once.
func pythonEnv() map[string]string {
	return map[string]string{
		"PYTHONPATH":       "$PWD/python${PYTHONPATH:+:$PYTHONPATH}",
		"PYTHONUNBUFFERED": "true",
	}
}

// serve is the command that runs a WSGI application, "module:name".
func serve(application string) string {
	return rt + " ../resources/serve.py " + words.Quote(application)
}

// wsgi is for apps whose module wsgi has the name application.
type wsgi struct{}

func (wsgi) Name() string { return "wsgi" }

func (wsgi) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	requirements, err := stagePython(ctx, t)
	if err != nil {
		return Scripts{}, err
	}
	if !t.Options.Original {
		return Scripts{Startup: Startup{Env: pythonEnv(), Command: serve("wsgi:application")}}, nil
	}
	command := "../python/bin/gunicorn -c ../gunicorn.config wsgi:application"
	if requirements {
		command = pipRequirements + command
	}
	return Scripts{Startup: Startup{Hook: pipHook("gunicorn"), Command: command}}, nil
}

type django struct{}

func (django) Name() string { return "django" }

func (django) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	requirements, err := stagePython(ctx, t)
	if err != nil {
		return Scripts{}, err
	}
	if !t.Options.Original {
		application, err := djangoApplication(t)
		if err != nil {
			return Scripts{}, err
		}
		env := pythonEnv()
		if application == djangoFactory {
			env["DJANGO_SETTINGS_MODULE"] = "${DJANGO_SETTINGS_MODULE:-settings}"
		}
		migrate := rt + " manage.py migrate --noinput >> ../logs/startup.log 2>&1\n"
		return Scripts{Startup: Startup{Env: env, Command: migrate + serve(application)}}, nil
	}
	command := "python manage.py syncdb --noinput >> ../logs/startup.log 2>&1\n../python/bin/gunicorn_django -c ../gunicorn.config"
	if requirements {
		command = pipRequirements + command
	}
	return Scripts{Startup: Startup{Hook: pipHook("django", "gunicorn"), Command: command}}, nil
}

// djangoFactory makes the application of projects that have no module for it, as they had none before Django 1.4.
const djangoFactory = "django.core.wsgi:get_wsgi_application()"

// djangoApplication returns the application of the project: that of the one package with a module wsgi.
func djangoApplication(t *Tree) (string, error) {
	found, err := fs.Glob(t.FS(), "app/*/wsgi.py")
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return djangoFactory, nil
	case 1:
		return path.Base(path.Dir(found[0])) + ".wsgi:application", nil
	}
	return "", wrong("Unable to determine the WSGI module of the Django project: there are %s", strings.Join(found, ", "))
}
