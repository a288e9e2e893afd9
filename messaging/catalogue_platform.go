package messaging

import "time"

func healthKinds() []Kind {
	return []Kind{
		tell(DEAHeartbeat, Kind{
			Direction: NodeSends, From: "DEA", To: "health manager", Era: "until 2016-03, then by HTTPS", Purpose: "all instances",
			Note: "Every 10 s (5 s while evacuating), when an instance becomes RUNNING, and on healthmanager.start. Only STARTING, RUNNING, " +
				"CRASHED and EVACUATING instances are listed. An instance of which nothing is heard for 30 s is missing. " +
				"By HTTPS the same message is sent by POST /dea/heartbeat.",
		}, Heartbeat{DEA: anID, Droplets: []Instance{{
			CCPartition: "default", Droplet: anApp, Version: aVersion, Instance: anInstance, Index: 0, State: Running, StateTimestamp: since,
		}}}),
		tell(HealthManagerStart, Kind{
			Direction: NodeReceives, From: "health manager", To: "DEA", Era: "until 2016-01-21", Purpose: "heartbeat now",
		}, Signal{}),
	}
}

func routerKinds() []Kind {
	hello := RouterHello{
		ID: "7f0e1d2c3b4a59687f0e1d2c3b4a5968", Hosts: []string{"10.0.0.5"}, MinimumRegisterInterval: 20, PruneThreshold: 120,
	}
	route := Route{
		DEA: anID, App: anApp, URIs: []string{"shop.example.com"}, Host: "10.0.3.7", Port: 61017,
		Tags:              map[string]string{"component": "dea-0"},
		PrivateInstanceID: "5d90c1e7f3249be4d2f07c3a4f1eb6a85d90c1e7f3249be4d2f07c3a4f1eb6a8",
	}
	return []Kind{
		tell(RouterStart, Kind{
			Direction: NodeReceives, From: "router", To: "DEA", Era: "always", Purpose: "register everything now",
			Note: "Sent when a router has come up or has lost its NATS server for a while.",
		}, hello),
		ask(RouterGreet, Kind{
			Direction: NodeAsks, From: "DEA", To: "router", Era: "2013-06-26 to 2014-10-06", Purpose: "ask for the interval",
			Note: "Asked at boot. Silence is fine: without an answer routes are repeated every 20 s.",
		}, Signal{}, hello),
		tell(RouterRegister, Kind{
			Direction: NodeSends, From: "DEA", To: "router", Era: "always", Purpose: "add routes",
			Note: "Repeated every 20 s, or as often as a router asks. A router forgets a route of which it does not hear for 120 s. " +
				"The directory server is a route, too, with the tag directory-server-<index> and without app and instance.",
		}, route),
		tell(RouterUnregister, Kind{
			Direction: NodeSends, From: "DEA", To: "router", Era: "always", Purpose: "remove routes",
			Note: "When an instance is stopped or has crashed, and on an update for the routes that went.",
		}, route),
	}
}

func componentKinds() []Kind {
	component := Component{
		Type: "DEA", Index: 0, UUID: anID, Host: "10.0.3.7:34501", Credentials: []string{"user", "password"},
		Start: "2014-02-28 15:13:08 -0800",
	}
	answer := component
	answer.Uptime = "0d:0h:12m:7s"
	return []Kind{
		tell(ComponentAnnounce, Kind{
			Direction: NodeSends, From: "component", To: "collector", Era: "until 2016-02-02", Purpose: "a component has come up",
		}, component),
		ask(ComponentDiscover, Kind{
			Direction: NodeAnswers, From: "collector", To: "component",
			Era: "until 2016-02-02", Purpose: "ask where figures are read",
		}, Signal{}, answer),
	}
}

func logKinds() []Kind {
	index := 1
	return []Kind{
		tell(Subject[AppLogLine](AppLogPrefix+".*"), Kind{
			Direction: NodeSends, From: "DEA, stager", To: "whoever follows the log", Era: "deakit only", Purpose: "a line of an app's log",
			Note: "By option. Lines that cannot be sent are dropped, the oldest first. The last part of the subject is the app's guid, " +
				"the first ones can be configured.",
		}, AppLogLine{
			Time: time.Date(2014, 2, 28, 23, 13, 8, 412700000, time.UTC), App: anApp, Instance: anInstance, Index: &index,
			Source: "APP", Stream: "stdout", Text: "listening on port 61017",
		}),
	}
}
