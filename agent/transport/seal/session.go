package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/uuid"
	"github.com/deakit/deakit/messaging"
)

// Keys are the texts of env.bosh.credentials, used as they are: that they look like base64 means nothing.
type Keys struct {
	Crypt string // password of the encryption
	Sign  string // key of the HMAC
}

// Validate tells whether both keys are there.
func (k Keys) Validate() error {
	if k.Crypt == "" || k.Sign == "" {
		return errors.New("credentials: crypt_key and sign_key must both be set")
	}
	return nil
}

// An Error tells why a message was not taken. Nothing is answered to such a message. Its text has nothing of what was in it.
type Error struct{ Reason string }

func (e *Error) Error() string { return "encrypted message refused: " + e.Reason }

// The reasons of an Error that matter in tests and logs.
var (
	ErrNoSession = &Error{"no session_id"}
	ErrNoData    = &Error{"no encrypted_data"}
	ErrSession   = &Error{"session_id mismatch"}
	ErrSequence  = &Error{"invalid sequence number"}
	ErrSignature = &Error{"signature does not fit"}
	ErrDecrypt   = &Error{"it " + errCiphertext.Error()}
)

// A Session is one side's half of a conversation under one session id. It may be used from any goroutine.
type Session struct {
	keys   Keys
	client string // client_id of what is sent
	id     string

	mu       sync.Mutex
	sent     int64 // the last number that was sent
	received int64 // the highest that was accepted
}

// NewSession begins a conversation. The client id goes into each message; both sides use the agent's id.
func NewSession(keys Keys, clientID string) *Session { return newSession(keys, clientID, uuid.New()) }

func newSession(keys Keys, clientID, id string) *Session {
	return &Session{keys: keys, client: clientID, id: id, sent: time.Now().Unix() + rand.Int64N(1<<32)}
}

// ID of the session.
func (s *Session) ID() string { return s.id }

// inner is what is signed, and then encrypted together with its signature.
type inner struct {
	HMAC string `json:"hmac"`
	Data string `json:"json_data"`
}

// Seal encrypts a JSON object. Its members must be neither sequence_number nor client_id nor session_id.
func (s *Session) Seal(object []byte) (messaging.AgentEnvelope, error) {
	object = bytes.TrimSpace(object)
	if len(object) < 2 || object[0] != '{' || object[len(object)-1] != '}' {
		return messaging.AgentEnvelope{}, errors.New("seal: only JSON objects can be sealed")
	}
	s.mu.Lock()
	s.sent++
	number := s.sent
	s.mu.Unlock()

	var data bytes.Buffer
	data.Write(bytes.TrimRight(object[:len(object)-1], " \t\r\n"))
	if data.Len() > 1 {
		data.WriteByte(',')
	}
	client, err := json.Marshal(s.client)
	if err != nil {
		return messaging.AgentEnvelope{}, err
	}
	session, err := json.Marshal(s.id)
	if err != nil {
		return messaging.AgentEnvelope{}, err
	}
	fmt.Fprintf(&data, `"sequence_number":%d,"client_id":%s,"session_id":%s}`, number, client, session)
	plain, err := json.Marshal(inner{s.keys.sign(data.Bytes()), data.String()})
	if err != nil {
		return messaging.AgentEnvelope{}, err
	}
	return messaging.AgentEnvelope{SessionID: s.id, EncryptedData: encrypt(s.keys.Crypt, plain)}, nil
}

// Open decrypts a message and returns its JSON object with all members. It takes each number once, in rising order only.
// It fails with an *Error.
func (s *Session) Open(e messaging.AgentEnvelope) ([]byte, error) {
	if e.SessionID != s.id {
		return nil, ErrSession
	}
	data, number, err := s.keys.open(e)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if number <= s.received {
		return nil, ErrSequence
	}
	s.received = number
	return data, nil
}

// open decrypts and verifies all but the order of numbers.
func (k Keys) open(e messaging.AgentEnvelope) (data []byte, number int64, err error) {
	switch {
	case e.SessionID == "":
		return nil, 0, ErrNoSession
	case e.EncryptedData == "":
		return nil, 0, ErrNoData
	}
	plain, err := decrypt(k.Crypt, e.EncryptedData)
	if err != nil {
		return nil, 0, ErrDecrypt
	}
	var signed inner
	if json.Unmarshal(plain, &signed) != nil {
		return nil, 0, ErrDecrypt
	}
	data = []byte(signed.Data)
	if !hmac.Equal([]byte(signed.HMAC), []byte(k.sign(data))) {
		return nil, 0, ErrSignature
	}
	var head struct {
		Number  json.Number `json:"sequence_number"`
		Session string      `json:"session_id"`
	}
	if json.Unmarshal(data, &head) != nil {
		return nil, 0, ErrDecrypt
	}
	// The session outside is not signed; only together with the one inside it says anything.
	if head.Session != e.SessionID {
		return nil, 0, ErrSession
	}
	number, err = strconv.ParseInt(head.Number.String(), 10, 64)
	if err != nil {
		return nil, 0, ErrSequence
	}
	return data, number, nil
}

func (k Keys) sign(data []byte) string {
	mac := hmac.New(sha256.New, []byte(k.Sign))
	mac.Write(data)
	return hex.EncodeToString(mac.Sum(nil))
}
