package config

import "time"

// Deakit is what dea_ng has no keys for. All are optional.
type Deakit struct {
	// Host is the IP address that the DEA gives for itself. Empty: that of the interface that leads outside.
	Host string `yaml:"host" validate:"omitempty,ip"`

	// GardenSocket is the unix socket of a Garden server. Empty: there is none.
	GardenSocket string `yaml:"garden_socket"`

	// HeartbeatTransport is "nats", "http" or "both"; the last two need hm9000. Empty: http where hm9000 is given, else nats.
	HeartbeatTransport string `yaml:"heartbeat_transport" validate:"omitempty,oneof=nats http both"`

	// LogFormat is "steno", "json" or "text"; default steno. SyslogAddress is where the system log listens:
	// udp://host:port or unixgram:///path. Empty: the machine's own.
	LogFormat     string `yaml:"log_format" validate:"oneof=steno json text"`
	SyslogAddress URL    `yaml:"syslog_address" validate:"omitempty,syslog"`

	LogEmitters LogEmitters `yaml:"log_emitters"`

	// RegisterDirectoryServer is whether the DEA registers the directory server's host name with the router, which takes
	// a domain; default true. A directory server that registers itself makes it false.
	RegisterDirectoryServer bool `yaml:"register_directory_server"`

	// FileURLs makes URLs of files outlive the DEA that signed them. Nil: key and host name are drawn anew at each start.
	FileURLs *FileURLs `yaml:"file_urls"`

	// DirectoryStatusPort is where a directory server in a process of its own shows its figures, on localhost, to the user
	// and password of status. 0: nowhere.
	DirectoryStatusPort uint16 `yaml:"directory_status_port"`

	// DirectoryCache is how long a directory server in a process of its own knows where the file of a URL is without asking the DEA
	// again, at most a second: what an instance does meanwhile it does not see. Default 0: it asks each time.
	DirectoryCache time.Duration `yaml:"directory_cache" accept:"fraction" validate:"gte=0,lte=1s" must:"a number of seconds from 0 to 1"`

	// QuietEvacuation leaves out the droplet.exited messages of an evacuation, as the last dea_ng did; default false.
	QuietEvacuation bool `yaml:"quiet_evacuation"`

	// LegacySubjects that are answered besides those of 2014 and later: dea.discover, droplet.status. Default none.
	LegacySubjects []string `yaml:"legacy_subjects" validate:"unique,dive,oneof=dea.discover droplet.status"`

	Runtimes Runtimes `yaml:"runtimes"`
}

// Runtimes are the programs that run the apps of droplets from before there were buildpacks.
type Runtimes struct {
	// Catalogue is the path of a file in the form of runtimes.yml of the first-generation DEA, where entries may also have the
	// lists aliases and executables. Empty: what today's distributions have, under the names of now and then.
	Catalogue string `yaml:"catalogue"`

	// Strict offers only the names of the catalogue, in the versions that it asks for, as the first-generation DEA did.
	// Default false: another name for the same is taken, and another version is a warning in the log.
	Strict bool `yaml:"strict"`
}

// FileURLs are good after a restart of the DEA if they lead to the same host and are checked with the same key.
type FileURLs struct {
	// HostLabel makes the host name of the directory server: <HostLabel>.<Domain>. No other DEA may have it.
	HostLabel string `yaml:"host_label" validate:"omitempty,label"`

	// Keys are secret texts, used as they stand. The first one signs, all verify: put a new one in front, and drop the old
	// one a Lifetime later. DEAs may have the same. None are needed beside a PrivateKeyFile.
	Keys []Secret `yaml:"keys" validate:"omitempty,unique,dive,key"`

	// PrivateKeyFile, relative to the working directory, has an Ed25519 key in PEM, which signs in place of the first of Keys, so that who has the public key alone can
	// check URLs. Empty: there is none.
	PrivateKeyFile string `yaml:"private_key_file"`

	// PublicKeyFiles have public keys in PEM, of private ones that signed before: their URLs are good, too.
	PublicKeyFiles []string `yaml:"public_key_files" validate:"unique"`

	// Lifetime of a URL; 0, the default: 3600 s.
	Lifetime time.Duration `yaml:"lifetime" validate:"gte=0,lte=8760h"`
}

// LogEmitters are where the lines of apps go, and those of the DEA about them. Where none is given they go nowhere, and
// only the files of the container have what the apps wrote.
type LogEmitters struct {
	// Syslog gets all lines: syslog://host:port, syslog-tls://host:port or syslog-udp://host:port.
	Syslog URL `yaml:"syslog" validate:"omitempty,drain"`

	// Drains sends each line also to the syslog drains of the app's services, at addresses of the public internet only.
	// Their URLs come from whoever may bind a service. Default false.
	Drains bool `yaml:"drains"`

	// NATS begins the subject of lines, which the guid of the app follows. Empty: not there.
	NATS string `yaml:"nats" validate:"omitempty,subject"`

	// LinesPerSecond bounds what one instance may send; default 0: no limit.
	LinesPerSecond int `yaml:"lines_per_second" validate:"gte=0,lte=1000000"`
}
