package cnb

// An Order is a list of groups: the first that takes the app is used.
type Order []Group

// A Group is a list of buildpacks that work together, in their order.
type Group []Member

// A Member is a place in a group.
type Member struct {
	ID      string
	Version string // empty means the only one that there is
	// Optional lets the group do without it where it does not take the app, or where nobody needs it.
	Optional bool
	ExecEnv  []string // execution environments for which it counts; empty means all
}

type tomlGroup struct {
	Group []struct {
		ID, Version string
		Optional    bool
		ExecEnv     any `toml:"exec-env"`
	}
}

// ParseOrder reads an order.toml.
func ParseOrder(file string, data []byte) (Order, error) {
	var t struct{ Order []tomlGroup }
	if _, err := decode(file, data, &t); err != nil {
		return nil, err
	}
	if len(t.Order) == 0 {
		return nil, wrong(file, "order", "there is no group; add [[order]] with [[order.group]]")
	}
	return order(file, t.Order)
}

func order(file string, groups []tomlGroup) (Order, error) {
	var o Order
	for _, g := range groups {
		var group Group
		for _, m := range g.Group {
			if err := CheckID(m.ID); err != nil {
				return nil, &FileError{File: file, Key: "order.group.id", Err: err}
			}
			if m.Version != "" && !versionPattern.MatchString(m.Version) {
				return nil, wrong(file, "order.group.version", "%.60q is no version", m.Version)
			}
			names, err := execEnvs(m.ExecEnv)
			if err != nil {
				return nil, &FileError{File: file, Key: "order.group.exec-env", Err: err}
			}
			group = append(group, Member{ID: m.ID, Version: m.Version, Optional: m.Optional, ExecEnv: names})
		}
		if len(group) == 0 {
			return nil, wrong(file, "order.group", "a group must have a buildpack")
		}
		o = append(o, group)
	}
	return o, nil
}
