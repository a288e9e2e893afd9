package settings

import (
	"encoding/json"
	"fmt"
)

// Disks are the disks of the machine.
type Disks struct {
	System       string          `json:"system"`
	Ephemeral    Disk            `json:"ephemeral"`  // the zero value for none
	Persistent   map[string]Disk `json:"persistent"` // by cid
	RawEphemeral []Disk          `json:"raw_ephemeral,omitempty"`
}

// A Disk says how to find a disk. Which of the fields count depends on the infrastructure.
type Disk struct {
	CID          string // of a persistent disk; it is the key, not a part of the document
	Path         string // /dev/sdb, or "2" where disks are counted
	VolumeID     string
	DeviceID     string // "id" in documents
	Lun          string
	HostDeviceID string
	ISCSI        ISCSI
}

// ISCSI is where an iSCSI disk is.
type ISCSI struct {
	InitiatorName, Username, Password, Target string
}

// A PersistentDisk is a disk and what to make of it.
type PersistentDisk struct {
	Disk
	FileSystem   string   // ext4, xfs; empty for ext4
	MountOptions []string // each becomes -o X
	Partitioner  string   // parted; empty to choose by size
}

// IsZero tells whether there is no disk.
func (d Disk) IsZero() bool { return d == Disk{} }

// UnmarshalJSON reads a string, which is both path and volume id, an object of strings, or null for none. Any other value
// is an error, also inside of an object.
func (d *Disk) UnmarshalJSON(data []byte) error {
	*d = Disk{}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		d.Path, d.VolumeID = value, value
		return nil
	case map[string]any:
		if err := texts(value, map[string]*string{"path": &d.Path, "volume_id": &d.VolumeID, "id": &d.DeviceID,
			"lun": &d.Lun, "host_device_id": &d.HostDeviceID}); err != nil {
			return err
		}
		return d.ISCSI.read(value["iscsi_settings"])
	}
	return fmt.Errorf("a disk is a string or an object, not %s", kind(value))
}

func (i *ISCSI) read(value any) error {
	if value == nil {
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("iscsi_settings of a disk must be an object, not %s", kind(value))
	}
	return texts(object, map[string]*string{"initiator_name": &i.InitiatorName, "username": &i.Username,
		"password": &i.Password, "target": &i.Target})
}

// texts takes strings out of an object.
func texts(object map[string]any, fields map[string]*string) error {
	for key, field := range fields {
		value, there := object[key]
		if !there {
			continue
		}
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("%s of a disk must be a string, not %s", key, kind(value))
		}
		*field = text
	}
	return nil
}

// kind names the JSON type of a value.
func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

// MarshalJSON writes an object that UnmarshalJSON reads, null for no disk.
func (d Disk) MarshalJSON() ([]byte, error) {
	if d.IsZero() {
		return []byte("null"), nil
	}
	object := map[string]any{}
	for key, value := range map[string]string{"path": d.Path, "volume_id": d.VolumeID, "id": d.DeviceID, "lun": d.Lun,
		"host_device_id": d.HostDeviceID} {
		if value != "" {
			object[key] = value
		}
	}
	if d.ISCSI != (ISCSI{}) {
		object["iscsi_settings"] = map[string]string{"initiator_name": d.ISCSI.InitiatorName, "username": d.ISCSI.Username,
			"password": d.ISCSI.Password, "target": d.ISCSI.Target}
	}
	return json.Marshal(object)
}
