package certs

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/scrypt"

	"github.com/postern-io/postern/registry"
)

// A seal keeps private keys in the database worthless to whoever has only that:
// AES-256-GCM under a key of the server's, and of a passphrase when there is one
// (scrypt, N=2^15, r=8, p=1: a tenth of a second, once at a start).
//
//	1 | nonce 12 | sealed PKCS#8             without a passphrase
//	2 | salt 16 | nonce 12 | sealed PKCS#8   with one
//
// The authority's id is bound to it, so that keys cannot be swapped.
type seal struct {
	key        []byte
	passphrase string
}

const saltSize = 16

var errNoPassphrase = errors.New("it is sealed with a passphrase: set POSTERN_CA_PASSPHRASE to it")

func (s seal) close(id registry.AuthorityID, key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := []byte{1}
	if s.passphrase != "" {
		out = append(make([]byte, 0, 64), 2)
		salt := make([]byte, saltSize)
		rand.Read(salt)
		out = append(out, salt...)
	}
	aead, err := s.aead(out[1:])
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(append(out, nonce...), nonce, der, []byte(id)), nil
}

func (s seal) open(id registry.AuthorityID, sealed []byte) (crypto.Signer, error) {
	var salt []byte
	switch {
	case len(sealed) > 0 && sealed[0] == 1:
		sealed = sealed[1:]
	case len(sealed) > saltSize && sealed[0] == 2:
		if s.passphrase == "" {
			return nil, errNoPassphrase
		}
		salt, sealed = sealed[1:1+saltSize], sealed[1+saltSize:]
	default:
		return nil, errors.New("it is sealed in a form that this version does not know")
	}
	aead, err := s.aead(salt)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("it is cut short")
	}
	der, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(id))
	switch {
	case err != nil && salt != nil:
		return nil, errors.New("POSTERN_CA_PASSPHRASE or the server's secret key is not the one that it was sealed with")
	case err != nil:
		return nil, errors.New("the server's secret key is not the one that it was sealed with")
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	return signer, nil
}

// aead returns the cipher for a key sealed with this salt, none without a
// passphrase.
func (s seal) aead(salt []byte) (cipher.AEAD, error) {
	secret := s.key
	if len(salt) > 0 {
		stretched, err := scrypt.Key([]byte(s.passphrase), salt, 1<<15, 8, 1, 32)
		if err != nil {
			return nil, err
		}
		secret = append(stretched, s.key...)
	}
	key, err := hkdf.Key(sha256.New, secret, salt, "postern issuing authority", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
