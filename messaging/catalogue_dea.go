package messaging

import "encoding/json"

// What the examples of the catalogue are about: one DEA, and one instance of one app.
const (
	anID       = "0-4f1c0a52b8de4d0f9a63e1c7d5b2a900"
	anApp      = "0e7b4b2e-3f27-4d7c-9d3a-4b0f7c1d2e33"
	aVersion   = "f31d6ab4-55a2-4a11-8e3c-0d8a4e0b7f19"
	anInstance = "9be4d2f07c3a4f1eb6a85d90c1e7f324"
	aSHA1      = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
	since      = Seconds(1393629188.4127)
)

func offerKinds() []Kind {
	return []Kind{
		tell(DEAAdvertise, Kind{
			Direction: NodeSends, From: "DEA", To: "Cloud Controller", Era: "always", Purpose: "capacity offer",
			Note: "Sent at the end of boot, every 5 s, and on dea.locate; not while leaving. Dropped by the Cloud Controller after 10 s. " +
				"Since 2016 it is the offer to stage, too.",
		}, Advertisement{
			ID: anID, Stacks: []string{"cflinuxfs2"}, AvailableMemory: 3072, AvailableDisk: new(Int(9216)),
			AppIDToCount: map[string]int{anApp: 2}, PlacementProperties: Placement{Zone: "z1"},
			URL: Present("https://dea-0.dea.service.example.com:1234"),
		}),
		tell(DEALocate, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "DEA", Era: "until 2016-01-22", Purpose: "advertise now",
			Note: "Answered by a publication on dea.advertise, not to the reply subject.",
		}, Signal{}),
		tell(DEAHello, Kind{
			Direction: NodeSends, From: "DEA", To: "whoever wants to know", Era: "until 2016-01-21", Purpose: "a DEA has come up",
			Note: "Sent once, at the end of boot.",
		}, Hello{ID: anID, IP: "10.0.3.7", Version: "0.0.1"}),
		tell(DEAShutdown, Kind{
			Direction: NodeSends, From: "DEA", To: "Cloud Controller", Era: "since 2013-05-24", Purpose: "forget the offer",
			Note: "May come several times.",
		}, Goodbye{ID: anID, IP: "10.0.3.7", Version: "0.0.1", AppIDToCount: map[string]int{anApp: 2}}),
		ask(DEAStatus, Kind{
			Direction: NodeAnswers, From: "monitoring", To: "DEA", Era: "until 2016-01-21", Purpose: "ask for figures",
		}, Signal{}, Capacity{ID: anID, IP: "10.0.3.7", Version: "0.0.1", MaxMemory: 4096, ReservedMemory: 1024, UsedMemory: 512}),
		ask(DEADiscover, Kind{
			Direction: NodeAnswers, From: "Cloud Controller", To: "DEA", Era: "2012-08 to 2013-07-11", Purpose: "ask who has room",
			Note: "A DEA without room stays silent. The others answer after min(250, 10 × instances of the app there + 100 × reserved " +
				"memory / capacity) ms, and the first answer wins.",
		}, DiscoverMessage{Droplet: anApp, Limits: Limits{Mem: 256, Disk: 1024, FDs: 16384}},
			Hello{ID: anID, IP: "10.0.3.7", Version: "0.0.1"}),
	}
}

func appKinds() []Kind {
	return []Kind{
		tell(DEAStart("*"), Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "DEA", Era: "always", Purpose: "start one instance",
			Note: "No answer: heartbeats tell what became of it. Since 2016-03 also by HTTPS, POST /v1/apps.",
		}, exampleStart()),
		tell(DEAStop, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "DEA, stager", Era: "always", Purpose: "stop what matches",
			Note: "No answer, and no droplet.exited. With the key droplet alone it also gives up staging of the app (since 2016-02).",
		}, StopMessage{Filter: Filter{Droplet: anApp, Version: new(aVersion), Indices: Indices{1, 2}}}),
		tell(DEAUpdate, Kind{
			Direction: NodeReceives, From: "Cloud Controller", To: "DEA", Era: "always", Purpose: "new routes or version of an app",
			Note: "The process goes on as it is; the differences go to the router.",
		}, UpdateMessage{Droplet: anApp, URIs: new([]string{"shop.example.com"}), Version: new(aVersion)}),
		ask(DEAFindDroplet, Kind{
			Direction: NodeAnswers, From: "Cloud Controller", To: "DEA",
			Era: "always", Purpose: "find instances, their figures and files",
			Note: "One answer for each match, at once; silence when nothing matches. The Cloud Controller waits 2 s.",
		}, FindMessage{
			Filter:       Filter{Droplet: anApp, Version: new(aVersion), States: Names{Starting, Running}},
			IncludeStats: true, Path: Present("/logs"),
		}, exampleFound()),
		tell(DropletExited, Kind{
			Direction: NodeSends, From: "DEA", To: "Cloud Controller, health manager",
			Era: "always", Purpose: "an instance ended or has to leave",
			Note: "Once for each end. Cloud Controllers share the messages in the queue group crash_event_registration; the health manager " +
				"starts a replacement on DEA_EVACUATION (sent until 2016-06-09) and decodes the numbers as integers.",
		}, Exit{
			CCPartition: "default", Droplet: anApp, Version: aVersion, Instance: anInstance, Index: 1, Reason: ReasonCrashed,
			ExitStatus: 255, ExitDescription: "out of memory", CrashTimestamp: 1393629412,
		}),
		ask(DropletStatus, Kind{
			Direction: NodeAnswers, From: "monitoring", To: "DEA",
			Era: "until 2013-07-11", Purpose: "ask for names and routes of what runs",
			Note: "One answer for each starting or running instance.",
		}, Signal{}, InstanceSummary{Name: "shop", URIs: []string{"shop.example.com"}}),
		tell(DropletUpdated, Kind{
			Direction: NodeIgnores, From: "Cloud Controller", To: "old health manager",
			Era: "before HM9000", Purpose: "an app was changed",
			Note: "No DEA ever listened. It is listed so that tools know it.",
		}, Signal{}),
	}
}

func exampleStart() StartMessage {
	limits := Limits{Mem: 256, Disk: 1024, FDs: 16384}
	return StartMessage{
		Droplet: anApp, Index: 0, Name: "shop", Version: aVersion, URIs: []string{"shop.example.com"}, CCPartition: "default",
		Limits: limits, SHA1: aSHA1, ExecutableURI: "http://user:password@cc.example.com/staged_droplets/" + anApp + "/download",
		Env: []string{"RACK_ENV=production", "EMPTY="},
		Services: Services{{
			Name: "db", Label: "user-provided", Tags: json.RawMessage(`[]`),
			Credentials: json.RawMessage(`{"uri":"mysql://user:password@10.1.1.1/shop"}`),
		}},
		HealthCheckTimeout: 60, Stack: "cflinuxfs2",
		EgressNetworkRules: []EgressRule{{Protocol: "tcp", Destination: "0.0.0.0/0", Ports: "443"}},
		VCAPApplication: map[string]json.RawMessage{
			"application_name": json.RawMessage(`"shop"`), "application_uris": json.RawMessage(`["shop.example.com"]`),
			"limits": json.RawMessage(`{"mem":256,"disk":1024,"fds":16384}`),
		},
	}
}

func exampleFound() FoundInstance {
	return FoundInstance{
		DEA: anID, Droplet: anApp, Version: aVersion, Instance: anInstance, Index: 1, State: Running,
		StateTimestamp: since, Staged: "/" + anInstance,
		FileURIV2: "http://7af0.apps.example.com/instance_paths/" + anInstance + "?hmac=90ab&path=%2Flogs&timestamp=1393629300",
		Stats: &Stats{
			Name: "shop", URIs: []string{"shop.example.com"}, Host: "10.0.3.7", Port: new(uint16(61017)), Uptime: 112,
			MemQuota: 256 << 20, DiskQuota: 1024 << 20, FDsQuota: 16384,
			Usage: Usage{Time: "2014-02-28 23:15:00 +0000", CPU: 0.031, Mem: 71303168, Disk: 58720256},
		},
	}
}
