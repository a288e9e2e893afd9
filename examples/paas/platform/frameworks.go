package platform

import (
	"encoding/json"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/framework"
)

// byFramework has an app staged as before there were buildpacks, if its request names a framework. The droplet does not know
// where its runtime is: the DEA puts that into its startup script.
func byFramework(opts framework.BuildpackOptions) func(messaging.StagingRequest, *staging.Task) error {
	return func(request messaging.StagingRequest, task *staging.Task) error {
		if len(request.Properties.Framework) == 0 && len(request.Properties.FrameworkInfo) == 0 {
			return nil
		}
		data, err := json.Marshal(request.Properties)
		if err != nil {
			return err
		}
		if string(request.Properties.Framework) == `"`+framework.BuildpackName+`"` { // which wants no runtime
			memory := int(request.MemoryLimit)
			wrap(task, framework.Properties{Command: task.StartCommand, Resources: framework.Resources{MemoryMB: memory}})
			return nil
		}
		properties, err := framework.ParseProperties(data)
		if err != nil {
			return err
		}
		plugin, err := framework.Find(properties.Framework)
		if err != nil {
			return err
		}
		task.Custom = framework.NewBuildpack(plugin, properties, opts)
		return nil
	}
}

// wrap has the buildpacks of a task make droplets of that time.
func wrap(task *staging.Task, properties framework.Properties) {
	if task.Custom != nil {
		task.Custom = framework.WrapBuildpack(task.Custom, properties)
	}
	for i, buildpack := range task.Buildpacks {
		task.Buildpacks[i] = framework.WrapBuildpack(buildpack, properties)
	}
}
