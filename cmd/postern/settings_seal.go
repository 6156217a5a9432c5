package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// settingSeal keeps secrets among the stored settings worthless to whoever has
// only the database: AES-256-GCM under a key that is derived from the server's.
// The name of the setting is bound to it, so that values cannot be swapped.
type settingSeal struct{ aead cipher.AEAD }

func newSettingSeal(secret []byte) (settingSeal, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "postern stored settings", 32)
	if err != nil {
		return settingSeal{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return settingSeal{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // which stands before what it sealed
	return settingSeal{aead}, err
}

func (s settingSeal) close(name, value string) string {
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(value), []byte(name)))
}

var errSealed = errors.New("was stored under another secret key of the server; give it again")

func (s settingSeal) open(name, sealed string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return "", errSealed
	}
	value, err := s.aead.Open(nil, nil, text, []byte(name))
	if err != nil {
		return "", errSealed
	}
	return string(value), nil
}
