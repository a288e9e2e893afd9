package config

import "time"

// Default returns the values that keys have when a file does not give them (dea_ng). It lacks what is required.
func Default() Config {
	return Config{
		DirectoryServer:     DirectoryServer{StreamingTimeout: time.Minute},
		PlacementProperties: PlacementProperties{Zone: "default"},
		CrashLifetime:       time.Hour,
		CrashBlockThreshold: 0.8,
		CrashInodeThreshold: 0.8,
		EvacuationBailOut:   600 * time.Second,
		HealthCheckTimeout:  60 * time.Second,
		Intervals: Intervals{
			Heartbeat:      10 * time.Second,
			Advertise:      5 * time.Second,
			RouterRegister: 20 * time.Second,
		},
		Resources: Resources{
			MemoryMB:               8192,
			DiskMB:                 16 * 1024 * 1024,
			MemoryOvercommitFactor: 1,
			DiskOvercommitFactor:   1,
		},
		Instance: Instance{
			MemoryToCPUShareRatio: 8,
			MinCPUShareLimit:      1,
			MaxCPUShareLimit:      256,
			DiskInodeLimit:        200_000,
			NProcLimit:            512,
		},
		Staging: Staging{
			MaxStagingDuration: 900 * time.Second,
			MemoryLimitMB:      1024,
			DiskLimitMB:        2048,
			DiskInodeLimit:     200_000,
			CPULimitShares:     512,
		},
		Deakit: Deakit{LogFormat: "steno", RegisterDirectoryServer: true},
	}
}
