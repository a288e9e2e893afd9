package settings

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// userData is what a machine was given at its birth: the settings themselves, or where they are.
type userData struct {
	Registry struct {
		Endpoint string `json:"endpoint"`
	} `json:"registry"`
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	DNS struct {
		Nameserver []string `json:"nameserver"`
	} `json:"dns"`
	OpenSSH struct {
		PublicKey string `json:"public_key"`
	} `json:"openssh"`
	raw []byte
}

// parseUserData reads JSON, or URL-safe base64 of JSON without padding, in which double quotes do not count.
func parseUserData(data []byte) (*userData, error) {
	plain, err := decodeUserData(data)
	if err != nil {
		return nil, err
	}
	u := &userData{raw: plain}
	if err := json.Unmarshal(plain, u); err != nil {
		return nil, fmt.Errorf("user data: %w", err)
	}
	return u, nil
}

func decodeUserData(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		return data, nil
	}
	text := strings.Map(func(r rune) rune {
		if r == '"' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, string(data))
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(plain) == 0 || plain[0] != '{' {
		return nil, errors.New("user data are neither a JSON object nor one in base64") // the cause would quote them
	}
	return plain, nil
}

// settings are those that the user data are.
func (u *userData) settings() (*Settings, error) {
	s, err := Parse(u.raw)
	if err != nil {
		return nil, err
	}
	if s.AgentID == "" {
		return nil, ErrNoSettings
	}
	return s, nil
}
