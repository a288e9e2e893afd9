package framework

import (
	"context"
	"embed"
	"io/fs"
	"path"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/webxml"
)

//go:embed resources
var resources embed.FS

// putResource writes a file of this package into the droplet.
func (t *Tree) putResource(name, to string, mode fs.FileMode) error {
	content, err := resources.ReadFile("resources/" + name)
	if err != nil {
		return err
	}
	return t.Write(to, string(content), mode)
}

// webRoot is where Tomcat looks for the app.
const webRoot = "tomcat/webapps/ROOT"

// javaHook finds the port in the arguments, and tells it to Tomcat.
const javaHook = "export CATALINA_OPTS=\"$CATALINA_OPTS `ruby resources/set_environment`\"" + `
env > env.log
PORT=-1
while getopts ":p:" opt; do
  case $opt in
    p)
      PORT=$OPTARG
      ;;
  esac
done
if [ $PORT -lt 0 ] ; then
  echo "Missing or invalid port (-p)"
  exit 1
fi
ruby resources/generate_server_xml $PORT`

// javaWeb is for apps that are the content of a war file.
type javaWeb struct{}

func (javaWeb) Name() string { return "java_web" }

func (javaWeb) Stage(ctx context.Context, t *Tree) (Scripts, error) { return stageWebApp(ctx, t, nil) }

// stageWebApp stages the content of a war file, whose descriptor configure changes; nil leaves it as it is.
func stageWebApp(ctx context.Context, t *Tree, configure func(descriptor) error) (Scripts, error) {
	if err := putTomcat(ctx, t); err != nil {
		return Scripts{}, err
	}
	if err := t.CopyApp(ctx, ".", webRoot); err != nil {
		return Scripts{}, err
	}
	if !t.Has(webRoot + "/WEB-INF/web.xml") {
		return Scripts{}, wrong("Web application staging failed: web.xml not found")
	}
	if err := copyDrivers(ctx, t, "tomcat/lib"); err != nil {
		return Scripts{}, err
	}
	if configure != nil {
		if err := reconfigure(ctx, t, configure); err != nil {
			return Scripts{}, err
		}
	}
	return Scripts{Startup: Startup{
		Env:     map[string]string{"CATALINA_OPTS": javaMemory(t) + " -Djava.io.tmpdir=$PWD/tmp"},
		Hook:    javaHook,
		Dir:     "tomcat",
		Command: "./bin/catalina.sh run",
	}}, nil
}

// putTomcat puts the Tomcat of Options.Resources into the droplet, else a base directory for that of the machine.
func putTomcat(ctx context.Context, t *Tree) error {
	for _, name := range []string{"generate_server_xml", "set_environment"} {
		if err := t.putResource("tomcat/"+name, "resources/"+name, 0o755); err != nil {
			return err
		}
	}
	if t.resource("tomcat") == "" {
		if err := t.Directories("tomcat/conf", "tomcat/lib", "tomcat/logs", "tomcat/temp", "tomcat/work"); err != nil {
			return err
		}
		return t.putResource("tomcat/catalina.sh", "tomcat/bin/catalina.sh", 0o755)
	}
	if err := t.CopyResource(ctx, "tomcat", "tomcat"); err != nil {
		return err
	}
	if t.Has("tomcat/conf/server.xml") {
		if err := t.root.Remove("tomcat/conf/server.xml"); err != nil {
			return err
		}
	}
	if t.resource("droplet.yaml") == "" {
		return nil
	}
	return t.CopyResource(ctx, "droplet.yaml", "droplet.yaml")
}

// drivers are the JDBC drivers by the vendor of a service, in the order in which they are copied.
var drivers = []struct{ vendor, jar string }{
	{"mysql", "*mysql-connector-java-*.jar"},
	{"postgresql", "*postgresql-*.jdbc*.jar"},
}

// copyDrivers copies the JDBC drivers of bound services, unless the directory has such already.
func copyDrivers(ctx context.Context, t *Tree, to string) error {
	for _, d := range drivers {
		bound := false
		for _, s := range t.Properties.Services {
			vendor, _, _ := strings.Cut(s.Label, "-")
			bound = bound || vendor == d.vendor
		}
		there, err := fs.Glob(t.FS(), path.Join(to, d.jar))
		if err != nil {
			return err
		}
		if !bound || len(there) > 0 {
			continue
		}
		jar := t.resource(d.jar)
		if jar == "" {
			t.Log("The stager has no JDBC driver for %s: the app needs one of its own.", d.vendor)
			continue
		}
		if err := t.CopyResource(ctx, jar, path.Join(to, jar)); err != nil {
			return err
		}
	}
	return nil
}

const autoconfigJar = "auto-reconfiguration-*.jar"

// addAutoconfig copies the library for auto-reconfiguration; false if the stager does not have it.
func addAutoconfig(ctx context.Context, t *Tree, to string) (bool, error) {
	jar := t.resource(autoconfigJar)
	if jar == "" {
		t.Log("Auto-reconfiguration disabled because the stager does not have its library.")
		return false, nil
	}
	return true, t.CopyResource(ctx, jar, path.Join(to, jar))
}

// reconfigure changes the descriptor of an app and adds the library that this calls for. Where the stager does not have that,
// the descriptor is only looked at: an app that names classes which are not there does not start.
func reconfigure(ctx context.Context, t *Tree, configure func(descriptor) error) error {
	const file = webRoot + "/WEB-INF/web.xml"
	source, _, err := t.Read(file)
	if err != nil {
		return err
	}
	doc, err := webxml.Parse(source)
	if err != nil {
		return wrong("Web application staging failed: web.xml: %w", err)
	}
	has := func(name string) bool { return t.Has(webRoot + "/WEB-INF/" + name) }
	if err := configure(descriptor{doc, has}); err != nil {
		return err
	}
	added, err := addAutoconfig(ctx, t, webRoot+"/WEB-INF/lib")
	if err != nil || !added || !doc.Changed() {
		return err
	}
	return t.Rewrite(file, string(doc.Bytes()))
}
