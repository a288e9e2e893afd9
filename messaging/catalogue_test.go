package messaging_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

// wireOf is the JSON of an example, which passes validation.
func wireOf(t testing.TB, example any) []byte {
	t.Helper()
	data, err := messaging.Subject[any]("example").Encode(example)
	require.NoError(t, err)
	return data
}

// Every example is sent, and read as the same message.
func TestExamples(t *testing.T) {
	for _, kind := range messaging.Kinds() {
		have, err := kind.Decode(wireOf(t, kind.Example))
		require.NoError(t, err, kind.Subject)
		assert.Equal(t, kind.Example, have, kind.Subject)
		require.Equal(t, kind.Answers != nil, kind.DecodeAnswer != nil, kind.Subject)
		for _, answer := range kind.Answers {
			data := wireOf(t, answer)
			read, err := kind.DecodeAnswer(data)
			require.NoError(t, err, kind.Subject)
			own := reflect.New(reflect.TypeOf(answer))
			require.NoError(t, json.Unmarshal(data, own.Interface()), kind.Subject)
			assert.Equal(t, answer, own.Elem().Interface(), kind.Subject)
			// Where there are several forms of answers, one type reads them all, and loses nothing.
			assert.Equal(t, told(t, data), told(t, wireOf(t, read)), kind.Subject)
		}
	}
}

// told is what a message says: its members without those that are null or empty.
func told(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal(data, &members))
	for key, value := range members {
		if value == nil || value == "" {
			delete(members, key)
		}
	}
	return members
}

func TestKindOf(t *testing.T) {
	for _, kind := range messaging.Kinds() {
		found, ok := messaging.KindOf(kind.Subject)
		require.True(t, ok)
		assert.Equal(t, kind.Subject, found.Subject)
	}
	for subject, want := range map[string]string{
		"dea.0-4f1c.start": "dea.*.start", "dea.start": "dea.start", "staging": "staging", "staging.x.start": "staging.*.start",
		"dea.start.extra.tokens": "", "": "", "dea": "", "dea.x.stop": "",
	} {
		found, ok := messaging.KindOf(subject)
		assert.Equal(t, want != "", ok, subject)
		assert.Equal(t, want, found.Subject, subject)
	}
}

// Whoever changes the list does not change it for others.
func TestKindsAreACopy(t *testing.T) {
	messaging.Kinds()[0] = messaging.Kind{}
	assert.NotEmpty(t, messaging.Kinds()[0].Subject)
}

// FuzzDecode gives anything to every decoder. What one of them takes it can also write, reads back, and writes the same
// again; what it refuses it refuses with a MessageError.
func FuzzDecode(f *testing.F) {
	for _, kind := range messaging.Kinds() {
		f.Add(wireOf(f, kind.Example))
		for _, answer := range kind.Answers {
			f.Add(wireOf(f, answer))
		}
	}
	f.Add([]byte(startMessage))
	f.Add([]byte(`{"droplet":7,"indices":["1",2],"states":["running"],"path":null,"uris":null,"instances":"x"}`))
	f.Add([]byte(`{"memory_limit":"5","properties":{"services":[null,{"tags":{}}]},"start_message":{"limits":{"mem":"9"}}}`))
	f.Add([]byte(`{"id":"a","stacks":[],"available_memory":-1.5,"available_disk":null,"app_id_to_count":{},"url":null,"prod":0}`))
	f.Add([]byte(`"it broke"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range messaging.Kinds() {
			writesWhatItReads(t, kind.Subject, kind.Decode, data)
			if kind.DecodeAnswer != nil {
				writesWhatItReads(t, "answer to "+kind.Subject, kind.DecodeAnswer, data)
			}
		}
	})
}

func writesWhatItReads(t *testing.T, name string, decode func([]byte) (any, error), data []byte) {
	t.Helper()
	message, err := decode(data)
	if err != nil {
		var refused *messaging.MessageError
		require.ErrorAs(t, err, &refused, name)
		return
	}
	wire := wireOf(t, message)
	again, err := decode(wire)
	require.NoError(t, err, "%s: %s", name, wire)
	require.Equal(t, string(wire), string(wireOf(t, again)), name)
}

// What one message costs to read and to check.
func BenchmarkDecode(b *testing.B) {
	for _, kind := range messaging.Kinds() {
		b.Run(kind.Subject, func(b *testing.B) { benchmark(b, kind.Decode, kind.Example) })
		for _, answer := range kind.Answers {
			b.Run(kind.Subject+"/"+reflect.TypeOf(answer).Name(), func(b *testing.B) { benchmark(b, kind.DecodeAnswer, answer) })
		}
	}
}

func benchmark(b *testing.B, decode func([]byte) (any, error), example any) {
	data := wireOf(b, example)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
