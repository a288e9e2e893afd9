package settings

import (
	"fmt"
	"path/filepath"
)

// metadataURI is where clouds have their metadata service.
const metadataURI = "http://169.254.169.254"

// Infrastructure returns the source that the agent in Ruby used for its option -I: aws, openstack, vsphere, vcloud, or
// dummy, for which base is the base directory of the agent.
func Infrastructure(name, base string, tools Tools) (Source, error) {
	cloud := HTTP{
		URI:            metadataURI,
		UserDataPath:   "/latest/user-data",
		InstanceIDPath: "/latest/meta-data/instance-id/",
		SSHKeysPath:    "/latest/meta-data/public-keys/0/openssh-key",
		Retry:          Retry{Tries: tools.Tries, Delay: tools.Delay, Client: tools.Client, Logger: tools.Logger},
	}
	switch name {
	case "aws":
		return cloud, nil
	case "openstack":
		cloud.UseServerName = true
		cloud.InjectedFile = filepath.Join(base, "bosh", "user_data.json")
		return cloud, nil
	case "vsphere", "vcloud":
		return CDROM{Mounter: tools.Mounter, Run: tools.Run, Logger: tools.Logger}, needMounter("CDROM", tools)
	case "dummy":
		return File{filepath.Join(base, "bosh", "dummy-cpi-agent-env.json")}, nil
	}
	return nil, fmt.Errorf("infrastructure '%s' not found", name)
}
