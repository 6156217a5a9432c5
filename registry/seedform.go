package registry

import (
	"context"
	"crypto/subtle"
)

// SecretSubject stands in records for the name of a certificate whose common
// name is a secret.
const SecretSubject = "CN=(secret)"

// IssueSecretCertificate has sign make a certificate whose common name is a
// secret that the device holds now (an *InvalidError when it holds none such).
// What is recorded has neither that name nor the certificate, so that the store
// holds no secret: what comes back here is all there will be of it, and asked
// again it makes another.
func (r *Registry) IssueSecretCertificate(ctx context.Context, by UserID, domain DomainID, device DeviceID, secret Secret, sign func(Device) (Certificate, error)) (Certificate, error) {
	var c Certificate
	err := r.inDomain(ctx, domain, func(tx Tx) ([]Change, error) {
		d, err := enabledIn(ctx, tx, domain, device)
		if err != nil {
			return nil, err
		}
		if err := r.holds(ctx, tx, device, secret); err != nil {
			return nil, err
		}
		if c, err = sign(d); err != nil {
			return nil, err
		}
		c.Domain, c.Device, c.CreatedBy, c.CreatedAt = domain, device, by, r.now()
		c.Subject, c.Request = SecretSubject, ""
		kept := c
		kept.DER = []byte{}
		return nil, tx.InsertCertificate(ctx, kept)
	})
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// holds tells whether a secret is one of the device's, and has not ended.
func (r *Registry) holds(ctx context.Context, tx Tx, device DeviceID, secret Secret) error {
	held, err := tx.DeviceSecrets(ctx, device)
	if err != nil {
		return err
	}
	hash := r.Hasher.Hash(secret)
	for _, s := range held {
		if subtle.ConstantTimeCompare(s.Hash[:], hash[:]) == 1 && s.Valid(r.now()) {
			return nil
		}
	}
	return &InvalidError{Field: "secret", Reason: "must be one that the client holds now"}
}
