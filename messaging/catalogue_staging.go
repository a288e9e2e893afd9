package messaging

import "encoding/json"

func stagingKinds() []Kind {
	const aTask = "1d0c8f7e9b5a4c3d8e7f6a5b4c3d2e1f"
	return []Kind{
		tell(StagingAdvertise, Kind{
			Direction: NodeSends, From: "stager", To: "Cloud Controller",
			Era: "2013-03 to 2016-02-26, then dea.advertise", Purpose: "capacity offer",
			Note: "Sent at the end of boot, every 5 s, and on staging.locate. Dropped by the Cloud Controller after 10 s.",
		}, StagerAdvertisement{ID: anID, Stacks: []string{"cflinuxfs2"}, AvailableMemory: 7168, AvailableDisk: new(Int(30720))}),
		tell(StagingLocate, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "stager", Era: "2013-03 to 2016-01-21", Purpose: "advertise now",
		}, Signal{}),
		ask(StagingStart("*"), Kind{
			Direction: NodeAnswers, From: "Cloud Controller", To: "stager", Era: "since 2013", Purpose: "stage an app",
			Note: "Two answers, told apart by their order: the set-up is done, and the result. A refusal, or the word that the task was " +
				"stopped, is the last one. Since 2016-03 also by HTTPS, POST /v1/stage; the result then goes to the Cloud Controller.",
		}, exampleStagingRequest(aTask), exampleStagingAnswers(aTask)...),
		tell(StagingStop, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "stager",
			Era: "since 2013-04", Purpose: "give up staging of an app",
			Note: "No answer; the request to stage is answered. The Cloud Controller sends it before each request.",
		}, StagingStopMessage{AppID: anApp}),
		ask(StagingQueue, Kind{
			Direction: NodeAnswers, From: "Cloud Controller", To: "stager", Group: StagingQueueGroup,
			Era: "until 2016-01-22", Purpose: "stage an app, wherever",
			Note: "The request and the answers are those of staging.<id>.start. Until 2013-02 the subject carried requests of another form " +
				"(vcap_stager): that of vcap.stager.<id>, with one answer to the reply subject.",
		}, exampleStagingRequest(aTask), exampleStagingAnswers(aTask)...),
		ask(Query[QueuedStaging, QueuedStagingAnswer](OldStagerQueue("*")), Kind{
			Direction: NodeAnswers, From: "Cloud Controller", To: "stager", Group: "vcap.stager.<queue>",
			Era: "2011-09 to 2012-05-02, then the name of the queue alone", Purpose: "stage an app with a framework plugin",
			Note: "In place of an id stands the name of a queue; subject and queue group are the same. The answer is published on notify_subj, and " +
				"its error is a JSON object in a string. Since 2012-05-02 the subject is the name of the queue alone, \"staging\" as a rule, " +
				"the answer goes to the reply subject, and its error is a text.",
		}, exampleQueuedStaging(), exampleQueuedAnswers(aTask)...),
		tell(Buildpacks, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "stager",
			Era: "2014-09 to 2015-10", Purpose: "fetch admin buildpacks ahead of time",
			Note: "Sent when a stager appears. What cannot be fetched is fetched when it is needed.",
		}, BuildpackList{{Key: "b1_0f3c", URL: "http://user:password@cc.example.com/v2/buildpacks/b1/download"}}),
	}
}

func exampleStagingRequest(task Text) StagingRequest {
	const cc = "http://user:password@cc.example.com:9022/staging/"
	return StagingRequest{
		AppID: anApp, TaskID: task,
		Properties: StagingProperties{
			Services: Services{}, Resources: &StagingResources{Memory: 256, Disk: 1024, FDs: 16384},
			Environment: []string{"RACK_ENV=production", "CF_STACK=cflinuxfs2"},
		},
		DownloadURI: cc + "packages/" + anApp, UploadURI: cc + "droplets/" + anApp + "/upload",
		BuildpackCacheDownloadURI: cc + "buildpack_cache/" + anApp + "/download",
		BuildpackCacheUploadURI:   cc + "buildpack_cache/" + anApp + "/upload",
		StartMessage: json.RawMessage(`{"droplet":"` + anApp + `","index":0,"name":"shop","version":"` + aVersion + `",` +
			`"uris":["shop.example.com"],"cc_partition":"default","limits":{"mem":256,"disk":1024,"fds":16384},` +
			`"sha1":null,"executableUri":null,"env":[],"services":[]}`),
		AdminBuildpacks:    []AdminBuildpack{{Key: "b1_0f3c", URL: "http://user:password@cc.example.com/v2/buildpacks/b1/download"}},
		EgressNetworkRules: []EgressRule{{Protocol: "all", Destination: "0.0.0.0-9.255.255.255"}},
		Stack:              "cflinuxfs2",
	}
}

// exampleStagingAnswers are: set up, staged, failed, refused.
func exampleStagingAnswers(task string) []any {
	const log = "http://9b1c.dea.example.com/staging_tasks/1d0c/file_path?" +
		"hmac=90ab&path=%2Ftmp%2Fstaged%2Flogs%2Fstaging_task.log&timestamp=1464000000"
	web := "bundle exec rackup config.ru -p $PORT"
	return []any{
		StagingSetup{TaskID: task, StreamingLogURL: log},
		StagingResult{
			TaskID: task, DetectedBuildpack: new("Ruby/Rack"), BuildpackKey: new("b1_0f3c"), DropletSHA1: new(aSHA1),
			DetectedStartCommand: &web, Procfile: map[string]string{"web": web}, AppID: anApp,
		},
		StagingResult{
			TaskID: task, AppID: anApp, Error: "Script exited with status 1",
			ErrorInfo: &StagingError{Type: CompileFailed, Message: "Buildpack compilation step failed"},
		},
		StagingRefusal{TaskID: task, AppID: anApp, Error: "Not enough memory resources available"},
	}
}

func exampleQueuedStaging() QueuedStaging {
	const cc = "http://user:password@cc.example.com:9022/staging/"
	return QueuedStaging{
		AppID: "17", DownloadURI: cc + "app/17", UploadURI: cc + "droplet/17/5d41402abc4b2a76b9719d911017c592", Notify: "staging.result.5d41",
		Properties: json.RawMessage(`{"services":[],"framework_info":{"name":"sinatra","runtimes":[{"ruby18":{"default":true}}],` +
			`"detection":[{"*.rb":"\\s*require[\\s\\(]*['\"]sinatra(/base)?['\"]"},{"config/environment.rb":false}]},` +
			`"runtime_info":{"name":"ruby18","executable":"ruby","version":"1.8.7"},` +
			`"resources":{"memory":256,"disk":256,"fds":1024},"environment":["GREETING=hi"],"meta":{}}`),
	}
}

// exampleQueuedAnswers are: staged, failed, failed before 2012-05-02.
func exampleQueuedAnswers(task Text) []any {
	const begun = "[2013-02-14 11:25:28] Setting up temporary directories\n[2013-02-14 11:25:28] Downloading application\n"
	return []any{
		QueuedStagingAnswer{TaskID: task, TaskLog: begun + "[2013-02-14 11:25:28] Unpacking application\n" +
			"[2013-02-14 11:25:28] Staging application\n[2013-02-14 11:25:29] Creating droplet\n" +
			"[2013-02-14 11:25:29] Uploading droplet\n[2013-02-14 11:25:31] Done!\n"},
		QueuedStagingAnswer{TaskID: task, TaskLog: begun, Error: StagerError{TaskFailed, "Failed downloading app"}.Error()},
		QueuedStagingAnswer{TaskID: task, TaskLog: begun, Error: StagerError{Class: AppDownloadFailed}.Encode()},
	}
}
