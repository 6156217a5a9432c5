package authn

import (
	"context"

	"github.com/postern-io/postern/registry"
)

// A trace is the list of steps that a decision took, for `postern explain`. Nil
// it records nothing. It names devices and states, never a secret.
type trace struct{ steps []string }

// add takes a string and an id instead of a format, so that a decision that
// nobody asks about allocates nothing.
func (t *trace) add(step string, id registry.DeviceID) {
	switch {
	case t == nil:
	case id == "":
		t.steps = append(t.steps, step)
	default:
		t.steps = append(t.steps, step+" "+string(id))
	}
}

// Explain authenticates like Authenticate and returns every step taken. It
// counts a refusal like any other, so it cannot be used to guess.
func (d *Devices) Explain(ctx context.Context, c *Credential) (Identity, []string, error) {
	var t trace
	id, err := d.authenticate(ctx, c, &t)
	return id, t.steps, err
}
