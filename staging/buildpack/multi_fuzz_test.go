package buildpack

import (
	"encoding/json"
	"testing"
)

// FuzzDepsFiles reads arbitrary bytes as launch.yml and as the output metadata of config.yml.
func FuzzDepsFiles(f *testing.F) {
	for _, seed := range []string{
		"", "# none", "processes: [{type: web, command: run, limits: {memory: 64}, platforms: {cloudfoundry: {sidecar_for: [web]}}}]",
		"a: &a [1, 2.5, .nan, true, ~]\nb: *a\n<<: *a", "output: &o {x: *o}", "{", "? [a]\n: b", "a: !!binary x", "a: 0x1F\nb: 2020-01-01", "\"\\x00\": 1e400",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxDepsFile {
			return // depsFile refuses it
		}
		top, err := parseMap(data)
		if err != nil {
			return
		}
		processes, err := parseLaunch(top)
		for _, p := range processes {
			if err != nil || p.kind == "" || p.command == "" || p.memoryMB < 0 {
				t.Errorf("%+v, %v", p, err)
			}
		}
		budget := maxDepsFile
		value, err := plain(top, &budget)
		if err != nil {
			return
		}
		text, err := json.Marshal(value)
		if err != nil || len(text) > 10*maxDepsFile {
			t.Errorf("%d bytes of JSON, %v", len(text), err)
		}
	})
}
