package authn

import (
	"errors"
	"fmt"
	"time"

	"github.com/postern-io/postern/registry"
)

var (
	// ErrUnauthenticated is what every refusal to recognise somebody is.
	ErrUnauthenticated = errors.New("not authenticated")

	// ErrLimited is returned without looking at the credential once a source
	// or a device id has failed too often.
	ErrLimited = errors.New("too many attempts")
)

// A RefusedError is an ErrUnauthenticated with the reason for the log, the
// metrics and `postern explain`. It is never shown to the one refused.
type RefusedError struct {
	Reason registry.Reason
	Device registry.DeviceID // the device in question, when one was found
	User   registry.UserID   // the person in question, when one was found
}

func (e *RefusedError) Error() string {
	if e.Device != "" {
		return fmt.Sprintf("device %s: %s", e.Device, e.Reason)
	}
	if e.User != "" {
		return fmt.Sprintf("user %s: %s", e.User, e.Reason)
	}
	return string(e.Reason)
}

// Is makes every RefusedError an ErrUnauthenticated.
func (e *RefusedError) Is(target error) bool { return target == ErrUnauthenticated }

// A LimitedError is an ErrLimited that says when to try again.
type LimitedError struct{ RetryAfter time.Duration }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many attempts, try again in %s", e.RetryAfter.Round(time.Second))
}

// Is makes every LimitedError an ErrLimited.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }
