package registry

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotRenewable is returned for a certificate that is none of the device's,
// or not good any more: held, revoked or ended.
var ErrNotRenewable = errors.New("certificate cannot be renewed")

// A Signer makes the certificate of a device. It is called inside a
// transaction, once, and must not wait.
type Signer = func(Device) (Certificate, error)

// EnrolDevice is IssueCertificate for a device that asks for itself: its domain
// must be enabled too.
//
// Errors: ErrNotFound, ErrFrozen, ErrDisabled (the device or its domain), or
// sign's.
func (r *Registry) EnrolDevice(ctx context.Context, domain DomainID, device DeviceID, request string, sign Signer) (Certificate, error) {
	var c Certificate
	err := r.inEnabledDomain(ctx, domain, func(tx Tx) (_ []Change, err error) {
		c, err = r.enrol(ctx, tx, Certificate{Domain: domain, Device: device, Request: request}, sign)
		return nil, err
	})
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// RenewCertificate is EnrolDevice for a device that shows the certificate that
// is to be replaced. That one stays good until its end. Asked again with the
// same certificate and request it returns the new one of the first time, while
// that is good; a request that was used before, with another certificate or
// none, gets a new one.
//
// Errors are those of EnrolDevice, and ErrNotRenewable.
func (r *Registry) RenewCertificate(ctx context.Context, domain DomainID, device DeviceID, old CertificateID, request string, sign Signer) (Certificate, error) {
	var c Certificate
	err := r.inEnabledDomain(ctx, domain, func(tx Tx) (_ []Change, err error) {
		shown, err := certificateIn(ctx, tx, domain, old)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && shown.Device != device:
			return nil, fmt.Errorf("%w: it is none of the device", ErrNotRenewable)
		case err != nil:
			return nil, err
		case shown.Status(r.now()) != "valid":
			return nil, fmt.Errorf("%w: it is %s", ErrNotRenewable, shown.Status(r.now()))
		}
		c, err = r.enrol(ctx, tx, Certificate{Domain: domain, Device: device, Request: request, Replaces: old}, sign)
		return nil, err
	})
	if err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// inEnabledDomain is inDomain for what a device asks for itself.
func (r *Registry) inEnabledDomain(ctx context.Context, id DomainID, do func(Tx) ([]Change, error)) error {
	return r.inDomain(ctx, id, func(tx Tx) ([]Change, error) {
		d, err := tx.Domain(ctx, id)
		if err != nil {
			return nil, err
		}
		if d.Status != Enabled {
			return nil, fmt.Errorf("domain %w", ErrDisabled)
		}
		return do(tx)
	})
}

// enrol gives an enabled device the certificate that as describes.
func (r *Registry) enrol(ctx context.Context, tx Tx, as Certificate, sign Signer) (Certificate, error) {
	d, err := deviceIn(ctx, tx, as.Domain, as.Device)
	if err != nil {
		return Certificate{}, err
	}
	if d.Status != Enabled {
		return Certificate{}, fmt.Errorf("device %w", ErrDisabled)
	}
	return r.issue(ctx, tx, d, as, sign)
}

// issue has sign make the certificate that as describes, or finds the one that
// was made of the same request before.
func (r *Registry) issue(ctx context.Context, tx Tx, d Device, as Certificate, sign Signer) (Certificate, error) {
	now := r.now()
	c, err := tx.CertificateFor(ctx, as.Device, as.Request, as.Replaces, now)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return c, err
	}
	if c, err = sign(d); err != nil {
		return Certificate{}, err
	}
	c.Domain, c.Device, c.Request, c.Replaces, c.CreatedBy, c.CreatedAt = as.Domain, as.Device, as.Request, as.Replaces, as.CreatedBy, now
	return c, tx.InsertCertificate(ctx, c)
}
