package main

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/certs"
)

// secretKey returns the key under which device secrets are hashed: the one
// configured, or the one in the data directory, made at the first start. The
// key must outlive everything: without it no device is recognised.
func secretKey(c *Config) ([]byte, error) {
	if c.SecretKey != "" {
		return parseSecretKey(c.SecretKey)
	}
	path := filepath.Join(c.DataDir, "secret.key")
	text, err := certs.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		var key [32]byte
		rand.Read(key[:])
		text = []byte(hex.EncodeToString(key[:]) + "\n")
		err = certs.WritePrivate(path, text)
	}
	if err != nil {
		return nil, err
	}
	key, err := parseSecretKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func parseSecretKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != 32 {
		return nil, errors.New("a secret key has 64 hexadecimal digits")
	}
	return key, nil
}

// tokenKeys returns the keys of access tokens. They are derived from the secret
// key, so that all nodes that share it verify each other's tokens, unless there
// is a token.key in the data directory: then that one signs and the derived one
// still verifies.
func tokenKeys(dataDir string, secret []byte) (token.Keys, error) {
	seed, err := hkdf.Key(sha256.New, secret, nil, "postern access tokens", ed25519.SeedSize)
	if err != nil {
		return token.Keys{}, err
	}
	derived := ed25519.NewKeyFromSeed(seed)
	own, err := tokenKey(filepath.Join(dataDir, "token.key"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return token.Keys{Active: derived}, nil
	case err != nil:
		return token.Keys{}, err
	}
	return token.Keys{Active: own, Retiring: []ed25519.PublicKey{derived.Public().(ed25519.PublicKey)}}, nil
}

func tokenKey(path string) (ed25519.PrivateKey, error) {
	key, err := certs.ReadKey(path)
	if err != nil {
		return nil, err
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s must be an Ed25519 key", path)
	}
	return ed, nil
}
