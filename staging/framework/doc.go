// Package framework stages apps as Cloud Foundry did before there were buildpacks (vcap_staging, 2011 to 2013): a plugin for
// each framework turns the files of an app into a droplet with the scripts startup and stop in its root.
//
// [Stage] is the whole of it as a function on directories: it reads an app and its [Properties], as a request or a
// configuration file tells them, and fills an empty directory. It starts no program. What has to run, Bundler for example,
// it returns as [Program]s, since the code of apps belongs into containers. [NewBuildpack] serves a plugin as a
// buildpack.Buildpack, which runs those in the container of the staging: so frameworks work in every stager, next to
// buildpacks. [WrapBuildpack] is the reverse: a buildpack whose droplets start as those of frameworks.
//
// [Manifests] tell how apps are recognised, [Detect] applies them. Package runtimes finds the program behind a name like
// ruby19. Startup scripts have the form of the versions 0.1.61 to 0.1.63, which that of 2012 is known by. They say
// %VCAP_LOCAL_RUNTIME% for the runtime, which [Bind] replaces.
//
// The original brought Tomcat, Apache, JDBC drivers and libraries along; see [Options] for how they are provided, and
// for what is done where they are not.
//
// What differs from the original: nothing is downloaded; hidden files are copied; errors of an app come as [*AppError] in
// the words of the original; texts in a Gemfile.lock stand for what Bundler would say about gems, all groups included;
// Insight agents are not installed.
package framework
