package oci_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/oci"
)

func TestNamesOfImages(t *testing.T) {
	d := sample(t)
	for _, test := range []struct {
		ref            string
		layout, docker bool
	}{
		{"", true, true},
		{"latest", true, false},
		{"my-app:1.2", true, true},
		{"host.example:5000/org/my_app:v1", true, true},
		{"host.example/org/my--app:v1", true, true},
		{"Upper", true, false},
		{"Upper:case", true, false},
		{"bad ref!", false, false},
		{"a//b:c", false, false},
		{"-a:b", false, false},
		{"a:b\n", false, false},
		{strings.Repeat("a", 300) + ":b", false, false},
	} {
		for target, want := range map[oci.Target]bool{oci.Tar(io.Discard): test.layout, oci.DockerArchive(io.Discard): test.docker} {
			_, err := oci.Export(t.Context(), target, bytes.NewReader(d), oci.Options{Ref: test.ref})
			if want {
				assert.NoError(t, err, test.ref)
			} else {
				assert.ErrorIs(t, err, oci.ErrRef, test.ref)
			}
		}
	}
}

func TestNamesThatThereAre(t *testing.T) {
	var layout, docker bytes.Buffer
	_, err := oci.Export(t.Context(), oci.Tar(&layout), bytes.NewReader(sample(t)), oci.Options{Ref: "one"})
	require.NoError(t, err)
	_, err = oci.Export(t.Context(), oci.DockerArchive(&docker), bytes.NewReader(sample(t)), oci.Options{Ref: "one:1"})
	require.NoError(t, err)
	for want, data := range map[string][]byte{`0 of 1 fit; there is "one"`: layout.Bytes(), `0 of 1 fit; there is "one:1"`: docker.Bytes()} {
		_, err = oci.OpenTar(t.Context(), bytes.NewReader(data), int64(len(data)), oci.OpenOptions{Ref: "other"})
		require.ErrorIs(t, err, oci.ErrAmbiguous)
		assert.ErrorContains(t, err, want)
	}
}

// TestFormatOfTheDroplet: an image tells how the droplet was compressed, and so the same bytes come back.
func TestFormatOfTheDroplet(t *testing.T) {
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		var d, out bytes.Buffer
		_, err := droplet.Repack(t.Context(), &d, bytes.NewReader(sample(t)), droplet.PackOptions{Format: format})
		require.NoError(t, err)
		root, _ := exportDir(t, d.Bytes(), oci.Options{})
		image := open(t, root)
		told, ok := image.Format()
		assert.True(t, ok)
		assert.Equal(t, format, told)
		_, err = image.Droplet(t.Context(), &out, oci.ImportOptions{Pack: droplet.PackOptions{Format: told}})
		require.NoError(t, err)
		assert.True(t, bytes.Equal(d.Bytes(), out.Bytes()), format.String())
	}
}
