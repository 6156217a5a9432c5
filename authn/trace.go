package authn

import (
	"context"

	"github.com/postern-io/postern/registry"
)

// A Trace is the list of steps that a decision took, for `postern explain`. Its
// zero value is off and costs nothing. It names devices and states, never a
// secret.
type Trace struct {
	on    bool
	Steps []string
}

// add takes a string and an id instead of a format, so that a decision that
// nobody asks about allocates nothing.
func (t *Trace) add(step string, id registry.DeviceID) {
	switch {
	case !t.on:
	case id == "":
		t.Steps = append(t.Steps, step)
	default:
		t.Steps = append(t.Steps, step+" "+string(id))
	}
}

// Explain authenticates like Authenticate and returns every step taken. It
// counts a refusal like any other, so it cannot be used to guess.
func (d *Devices) Explain(ctx context.Context, c *Credential) (Identity, []string, error) {
	t := Trace{on: true}
	id, err := d.authenticate(ctx, c, &t)
	return id, t.Steps, err
}
