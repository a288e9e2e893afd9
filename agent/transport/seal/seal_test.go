package seal_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// What the openssl tool makes of one request.
const (
	vectorSession = "11111111-2222-3333-4444-555555555555"
	vectorData    = `{"method":"ping","arguments":[],"sequence_number":1400000001,"client_id":"agent-1","session_id":"` + vectorSession + `"}`
	vectorHMAC    = "189f1da99ea636cb87b9259c68d2303de9161afb93bdbb9d9272bfe9bea01d8c"
	vectorText    = `U2FsdGVkX18BAgMEBQYHCB6zfvFUOduuuEkjFI/G11GfRpID8cIzDrODNT2x
2/2hR8rYw8gdYjOAHSiRKLVIqzD+u6N1FuTxC7BJkht/MXUFx9ecApBIkJtp
+Qk3dAp11Dlv+Juwj9GZSOB7M+BjrIDiQoPFVXEhtUtpU1SAntaSpUbU0daa
RC21T57zQc/rH5S+fYMYYf+WomedhYAT8hZMpejPyzZGlJw50qg/B9N234sk
DmhHpG6poUCX2jeu4nF1Cu7EposnOUufWbWaYLZKQIXL4ITCDN/NpEW7UM2F
XPmPh0K6UctzeQzfDEya9QOOF0qtSd3zlzQaVERnUt11JjvBAOXcnkGzq5KH
3+4=
`
)

var vectorKeys = seal.Keys{Crypt: "Y3J5cHQta2V5LWZvci10ZXN0", Sign: "c2lnbi1rZXktZm9yLXRlc3Q="}

func TestVector(t *testing.T) {
	salt, err := hex.DecodeString("0102030405060708")
	require.NoError(t, err)
	assert.Equal(t, vectorHMAC, vectorKeys.Sign_([]byte(vectorData)))
	plain, err := json.Marshal(map[string]string{"hmac": vectorHMAC, "json_data": vectorData})
	require.NoError(t, err)
	assert.Equal(t, vectorText, seal.EncryptWithSalt(vectorKeys.Crypt, plain, salt))

	data, session, err := seal.NewSessions(vectorKeys, "agent-1").Open(
		messaging.AgentEnvelope{ReplyTo: "r.1", SessionID: vectorSession, EncryptedData: vectorText})
	require.NoError(t, err)
	assert.Equal(t, vectorData, string(data))
	assert.Equal(t, vectorSession, session.ID())
}

func TestVectorOfTheLibrary(t *testing.T) {
	plain, err := seal.Decrypt("p4ssw0rd", "U2FsdGVkX187oKRbgDkUcMKaFfB5RsXQj/X4mc8X3lsUVgwb4+S55LQo6f6N\nIDMX\n")
	require.NoError(t, err)
	assert.Equal(t, "Some top secret data", string(plain))
}

func TestConversation(t *testing.T) {
	director := seal.NewSession(vectorKeys, "agent-1")
	agent := seal.NewSessions(vectorKeys, "agent-1")
	lastReply := int64(0)
	for i := range 5 {
		request, err := director.Seal(fmt.Appendf(nil, ` {"method":"ping","arguments":[%d,"<&>"]} `, i))
		require.NoError(t, err)
		assert.Equal(t, director.ID(), request.SessionID)
		data, session, err := agent.Open(request)
		require.NoError(t, err)
		assert.Contains(t, string(data), fmt.Sprintf(`{"method":"ping","arguments":[%d,"<&>"],"sequence_number":`, i))

		reply, err := session.Seal([]byte(`{"value":"pong"}`))
		require.NoError(t, err)
		assert.Equal(t, director.ID(), reply.SessionID)
		data, err = director.Open(reply)
		require.NoError(t, err)
		var got struct {
			Value    string `json:"value"`
			Number   int64  `json:"sequence_number"`
			ClientID string `json:"client_id"`
			Session  string `json:"session_id"`
		}
		require.NoError(t, json.Unmarshal(data, &got))
		assert.Equal(t, "pong", got.Value)
		assert.Equal(t, "agent-1", got.ClientID)
		assert.Equal(t, director.ID(), got.Session)
		assert.Greater(t, got.Number, lastReply)
		lastReply = got.Number

		_, _, err = agent.Open(request)
		assert.ErrorIs(t, err, seal.ErrSequence, "a replay")
		_, err = director.Open(reply)
		assert.ErrorIs(t, err, seal.ErrSequence)
	}
	empty, err := director.Seal([]byte(`{}`))
	require.NoError(t, err)
	data, _, err := agent.Open(empty)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(data), `{"sequence_number":`), string(data))
}

func TestWhatIsRefused(t *testing.T) {
	good, err := seal.NewSession(vectorKeys, "a").Seal([]byte(`{"method":"ping"}`))
	require.NoError(t, err)
	otherSign, err := seal.NewSession(seal.Keys{Crypt: vectorKeys.Crypt, Sign: "x"}, "a").Seal([]byte(`{}`))
	require.NoError(t, err)
	otherCrypt, err := seal.NewSession(seal.Keys{Crypt: "x", Sign: vectorKeys.Sign}, "a").Seal([]byte(`{}`))
	require.NoError(t, err)
	with := func(e messaging.AgentEnvelope, session, data string) messaging.AgentEnvelope {
		e.SessionID, e.EncryptedData = session, data
		return e
	}
	signed := func(data string) string {
		plain, err := json.Marshal(map[string]string{"hmac": vectorKeys.Sign_([]byte(data)), "json_data": data})
		require.NoError(t, err)
		return seal.Encrypt(vectorKeys.Crypt, plain)
	}
	for name, c := range map[string]struct {
		envelope messaging.AgentEnvelope
		want     error
	}{
		"no session":           {with(good, "", good.EncryptedData), seal.ErrNoSession},
		"no data":              {with(good, good.SessionID, ""), seal.ErrNoData},
		"other session":        {with(good, vectorSession, good.EncryptedData), seal.ErrSession},
		"other sign key":       {otherSign, seal.ErrSignature},
		"other crypt key":      {otherCrypt, seal.ErrDecrypt},
		"no base64":            {with(good, "s", "!!"), seal.ErrDecrypt},
		"only a salt":          {with(good, "s", "U2FsdGVkX18BAgMEBQYHCA=="), seal.ErrDecrypt},
		"not inner JSON":       {with(good, "s", seal.Encrypt(vectorKeys.Crypt, []byte("x"))), seal.ErrDecrypt},
		"not an object":        {with(good, "s", signed(`[]`)), seal.ErrDecrypt},
		"no number":            {with(good, "s", signed(`{"session_id":"s"}`)), seal.ErrSequence},
		"number zero":          {with(good, "s", signed(`{"session_id":"s","sequence_number":0}`)), seal.ErrSequence},
		"number with fraction": {with(good, "s", signed(`{"session_id":"s","sequence_number":1.5}`)), seal.ErrSequence},
		"no inner session":     {with(good, "s", signed(`{"sequence_number":1}`)), seal.ErrSession},
	} {
		sessions := seal.NewSessions(vectorKeys, "a")
		_, _, err := sessions.Open(c.envelope)
		assert.Equal(t, c.want, err, name)
		_, _, err = sessions.Open(good)
		assert.NoError(t, err, "after %s", name)
	}
	_, err = seal.NewSession(vectorKeys, "a").Open(good)
	assert.ErrorIs(t, err, seal.ErrSession)
	_, err = seal.NewSession(vectorKeys, "a").Seal([]byte(`["a"]`))
	assert.Error(t, err)
	assert.Error(t, seal.Keys{Crypt: "x"}.Validate())
	assert.NoError(t, vectorKeys.Validate())
}

// Numbers that come out of order are not accepted, and sessions are independent of each other.
func TestSessionsAreBounded(t *testing.T) {
	agent := seal.NewSessions(vectorKeys, "a")
	first := seal.NewSession(vectorKeys, "a")
	early, err := first.Seal([]byte(`{}`))
	require.NoError(t, err)
	late, err := first.Seal([]byte(`{}`))
	require.NoError(t, err)
	_, _, err = agent.Open(late)
	require.NoError(t, err)
	_, _, err = agent.Open(early)
	require.ErrorIs(t, err, seal.ErrSequence)
	for range seal.MaxSessions - 1 {
		other, err := seal.NewSession(vectorKeys, "a").Seal([]byte(`{}`))
		require.NoError(t, err)
		_, _, err = agent.Open(other)
		require.NoError(t, err)
	}
	_, _, err = agent.Open(late)
	require.ErrorIs(t, err, seal.ErrSequence, "it is still known")
	for range seal.MaxSessions {
		other, err := seal.NewSession(vectorKeys, "a").Seal([]byte(`{}`))
		require.NoError(t, err)
		_, _, err = agent.Open(other)
		require.NoError(t, err)
	}
	_, _, err = agent.Open(late)
	assert.NoError(t, err, "it was forgotten")
}

// FuzzOpen gives anything to a session: nothing is taken that was not sealed with the keys.
func FuzzOpen(f *testing.F) {
	f.Add(vectorSession, vectorText)
	f.Add("", "")
	f.Add("s", "U2FsdGVkX18BAgMEBQYHCA==")
	f.Add(vectorSession, seal.Encrypt(vectorKeys.Crypt, []byte(`{"hmac":"","json_data":""}`)))
	f.Fuzz(func(t *testing.T, session, text string) {
		data, _, err := seal.NewSessions(vectorKeys, "a").Open(messaging.AgentEnvelope{SessionID: session, EncryptedData: text})
		if err == nil {
			// The fuzzer cannot sign: it can only have written the vector in another way.
			require.Equal(t, vectorData, string(data))
			return
		}
		var refused *seal.Error
		require.ErrorAs(t, err, &refused)
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	director, agent := seal.NewSession(vectorKeys, "a"), seal.NewSessions(vectorKeys, "a")
	for b.Loop() {
		e, err := director.Seal([]byte(`{"method":"ping","arguments":[]}`))
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := agent.Open(e); err != nil {
			b.Fatal(err)
		}
	}
}
