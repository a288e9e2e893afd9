package settings

// Env is what the deployment manifest says. Unknown keys are in [Settings.JSON].
type Env struct {
	Bosh                       Bosh     `json:"bosh"`
	PersistentDiskFS           string   `json:"persistent_disk_fs,omitempty"`            // ext4, xfs; empty for ext4
	PersistentDiskMountOptions []string `json:"persistent_disk_mount_options,omitempty"` // each becomes -o X
	PersistentDiskPartitioner  string   `json:"persistent_disk_partitioner,omitempty"`   // parted; empty to choose by size
}

func (e *Env) persistent(d Disk) PersistentDisk {
	return PersistentDisk{d, e.PersistentDiskFS, e.PersistentDiskMountOptions, e.PersistentDiskPartitioner}
}

// Bosh is env.bosh.
type Bosh struct {
	Password              *string      `json:"password,omitempty"` // crypt(3) hash; nil leaves what there is, "" locks
	KeepRootPassword      bool         `json:"keep_root_password,omitempty"`
	Credentials           *Credentials `json:"credentials,omitempty"` // nil for messages that are not encrypted
	AuthorizedKeys        []string     `json:"authorized_keys,omitempty"`
	RemoveDevTools        bool         `json:"remove_dev_tools,omitempty"`
	RemoveStaticLibraries bool         `json:"remove_static_libraries,omitempty"`
	SwapSize              *uint64      `json:"swap_size,omitempty"` // MiB; nil to choose by memory, 0 for none
	Mbus                  Mbus         `json:"mbus,omitzero"`
	Blobstores            []Blobstore  `json:"blobstores,omitempty"`
	NTP                   *[]string    `json:"ntp,omitempty"` // replaces the ntp of the settings unless nil
	IPv6                  struct {
		Enable bool `json:"enable"`
	} `json:"ipv6,omitzero"`
	JobDir struct {
		Tmpfs     bool   `json:"tmpfs"`
		TmpfsSize string `json:"tmpfs_size"` // default 100m
	} `json:"job_dir,omitzero"`
	RunDir struct {
		TmpfsSize string `json:"tmpfs_size"` // default 16m
	} `json:"run_dir,omitzero"`
	Agent struct {
		Settings struct {
			Tmpfs bool `json:"tmpfs"`
		} `json:"settings"`
	} `json:"agent,omitzero"`
	Parallel int `json:"parallel,omitempty"` // downloads at once; 0 for 5
}

// Credentials are the passwords of encrypted messages, used as they are.
type Credentials struct {
	CryptKey string `json:"crypt_key"`
	SignKey  string `json:"sign_key"`
}

// Mbus is where the director is and how to be sure of it.
type Mbus struct {
	Cert Cert     `json:"cert"`
	URLs []string `json:"urls"`
}

// Cert holds PEM texts.
type Cert struct {
	CA          string `json:"ca"`
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"private_key"`
}
