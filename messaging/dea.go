package messaging

// Subjects between a DEA and the Cloud Controller (dea_ng).
const (
	DEAAdvertise   Subject[Advertisement]            = "dea.advertise"    // DEA: capacity offer, every 5 s and when asked
	DEALocate      Subject[Signal]                   = "dea.locate"       // Cloud Controller: advertise now
	DEAStop        Subject[StopMessage]              = "dea.stop"         // Cloud Controller: stop what matches
	DEAUpdate      Subject[UpdateMessage]            = "dea.update"       // Cloud Controller: new routes or version
	DEAFindDroplet Query[FindMessage, FoundInstance] = "dea.find.droplet" // one answer for each match, else silence
	DEAShutdown    Subject[Goodbye]                  = "dea.shutdown"     // DEA: forget my offer
	DropletExited  Subject[Exit]                     = "droplet.exited"   // DEA: an instance ended by itself, or has to leave
)

// DEAStart returns the subject on which the DEA of this id is told to start an instance. There is no answer.
func DEAStart(id string) Subject[StartMessage] { return Subject[StartMessage]("dea." + id + ".start") }

// Subjects that a DEA of 2013 or 2014 knew and one of 2017 does not.
const (
	DEAHello       Subject[Hello]                 = "dea.start"       // DEA: I am there, once at the end of boot (until 2016-01)
	DEAStatus      Query[Signal, Capacity]        = "dea.status"      // monitoring asks for figures (until 2016-01)
	DEADiscover    Query[DiscoverMessage, Hello]  = "dea.discover"    // who has room? The first answer wins (until 2013-07)
	DropletStatus  Query[Signal, InstanceSummary] = "droplet.status"  // monitoring asks for what runs (until 2013-07)
	DropletUpdated Subject[Signal]                = "droplet.updated" // Cloud Controller to an old health manager; no DEA ever heard it
)
