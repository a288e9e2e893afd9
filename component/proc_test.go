package component

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFiguresOfTheKernel(t *testing.T) {
	good := fstest.MapFS{
		"self/statm": {Data: []byte("2000 300 100 1 0 200 0\n")},
		"loadavg":    {Data: []byte("1.25 0.50 0.10 2/345 6789\n")},
		"meminfo": {Data: []byte(
			"MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\nHugePages_Total:   0\n")},
	}
	memory, err := residentMemory(good)
	require.NoError(t, err)
	assert.EqualValues(t, 300*os.Getpagesize(), memory)
	host, err := readHost(good)
	require.NoError(t, err)
	assert.Equal(t, hostFigures{load: 1.25, used: 600 << 10, free: 400 << 10}, host)

	for name, files := range map[string]fstest.MapFS{
		"nothing":     {},
		"no meminfo":  {"loadavg": good["loadavg"]},
		"no load":     {"loadavg": {Data: []byte("\n")}, "meminfo": good["meminfo"]},
		"old meminfo": {"loadavg": good["loadavg"], "meminfo": {Data: []byte("MemTotal: 1000 kB\n")}},
	} {
		_, err := readHost(files)
		assert.Error(t, err, name)
	}
	for name, files := range map[string]fstest.MapFS{
		"nothing": {},
		"short":   {"self/statm": {Data: []byte("2000")}},
		"text":    {"self/statm": {Data: []byte("a b c")}},
	} {
		_, err := residentMemory(files)
		assert.Error(t, err, name)
	}
}
