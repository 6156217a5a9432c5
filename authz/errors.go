package authz

import (
	"errors"

	"github.com/postern-io/postern/registry"
)

// ErrDenied is what every refusal to let somebody do something is.
var ErrDenied = errors.New("denied")

// A DeniedError is an ErrDenied with the reason for the log, the metrics and
// `postern explain`. It is never shown to the one refused.
type DeniedError struct{ Reason registry.Reason }

func (e *DeniedError) Error() string { return string(e.Reason) }

// Is makes every DeniedError an ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }
