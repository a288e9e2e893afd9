package framework

import (
	"context"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/webxml"
)

const (
	springDispatcher = "org.springframework.web.servlet.DispatcherServlet"
	grailsDispatcher = "org.codehaus.groovy.grails.web.servlet.GrailsDispatcherServlet"
	grailsPlugin     = "CloudFoundryGrailsPlugin"
)

type spring struct{}

func (spring) Name() string { return "spring" }

func (spring) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	return stageWebApp(ctx, t, func(d descriptor) error {
		d.contextParam()
		d.contextInitializer()
		d.dispatchers(springDispatcher)
		return nil
	})
}

type grails struct{}

func (grails) Name() string { return "grails" }

// Stage leaves apps as they are that have a plugin for Cloud Foundry.
func (grails) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	has, err := hasGrailsPlugin(t)
	if err != nil {
		return Scripts{}, err
	}
	if has {
		return stageWebApp(ctx, t, nil)
	}
	return stageWebApp(ctx, t, func(d descriptor) error {
		d.contextParam()
		d.dispatchers(grailsDispatcher)
		return nil
	})
}

// hasGrailsPlugin looks at the app's list of plugins, which is in its source: the droplet is still empty.
func hasGrailsPlugin(t *Tree) (bool, error) {
	app := &Tree{root: t.app}
	source, there, err := app.Read("WEB-INF/grails.xml")
	if err != nil || !there {
		return false, err
	}
	doc, err := webxml.Parse(source)
	if err != nil {
		return false, wrong("Web application staging failed: grails.xml: %w", err)
	}
	lists := doc.Root.All("plugins")
	if doc.Root.Name == "plugins" {
		lists = append(lists, doc.Root)
	}
	for _, list := range lists {
		for _, plugin := range list.All("plugin") {
			if strings.Contains(plugin.Text(), grailsPlugin) {
				return true, nil
			}
		}
	}
	return false, nil
}

type lift struct{}

func (lift) Name() string { return "lift" }

func (lift) Stage(ctx context.Context, t *Tree) (Scripts, error) {
	return stageWebApp(ctx, t, descriptor.liftListener)
}
