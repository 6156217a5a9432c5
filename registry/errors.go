package registry

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned when the noun asked for does not exist, was
	// deleted, or lives in another domain than the one named.
	ErrNotFound = errors.New("not found")

	// ErrExists is returned when a create or update would make a second noun
	// with an id, route, e-mail, username or secret that must be unique.
	ErrExists = errors.New("already exists")

	// ErrFrozen is returned for every change inside a frozen domain.
	ErrFrozen = errors.New("domain is frozen")

	// ErrDisabled is returned when a device, or its domain, that asks for
	// something of its own is disabled.
	ErrDisabled = errors.New("disabled")

	// ErrLastOwner is returned when a change would leave the platform without
	// an enabled owner.
	ErrLastOwner = errors.New("the last owner must stay")

	// ErrStale is returned for a change of something that somebody else changed
	// since it was looked at.
	ErrStale = errors.New("changed by somebody else meanwhile")

	// ErrUnavailable is returned when the store cannot answer now. The caller
	// may try again; it must not conclude that something does not exist.
	ErrUnavailable = errors.New("store unavailable")
)

// An InvalidError says which field of an input breaks which rule, in words
// that tell what would be right. It never holds the value of a secret.
type InvalidError struct {
	Field  string
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s %s", e.Field, e.Reason) }

// An ExistsError is an ErrExists that names the field that must be unique.
type ExistsError struct{ Field string }

func (e *ExistsError) Error() string        { return e.Field + " already exists" }
func (e *ExistsError) Is(target error) bool { return target == ErrExists }
