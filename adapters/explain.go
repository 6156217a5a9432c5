package adapters

import (
	"context"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

// A Question is what somebody asks Explain: what would become of this
// credential, or of this device once it is in, on this topic?
type Question struct {
	Device     *registry.Device  // set: the device is taken as recognised
	Credential *authn.Credential // otherwise: what is shown at the door
	Topic      string            // a topic, or a filter when Action is Subscribe; "" asks about the connect only
	Action     registry.Rights   // Publish or Subscribe
}

// An Explanation is a decision with all its steps. It holds no secret.
type Explanation struct {
	Allowed bool
	Reason  registry.Reason // why not; "" when allowed
	Device  registry.DeviceID
	Steps   []string
	Cached  bool // the device was known in memory when the question came
}

// Explain takes the decision of a connect and of a publish or subscribe and
// tells every step. Nothing is published, and a wrong credential counts as a
// wrong attempt. An error means that the store did not answer.
func (g *Gateway) Explain(ctx context.Context, q Question) (Explanation, error) {
	var (
		e      Explanation
		device = q.Device
	)
	if device == nil {
		id, steps, err := g.Devices.Explain(ctx, q.Credential)
		e.Steps = steps
		if err != nil {
			return e.refused(err)
		}
		device = id.Device
	}
	e.Device = device.ID
	e.Cached = g.Devices.Cached(device.ID)
	if q.Topic == "" {
		e.Allowed = true
		return e, nil
	}
	f, err := parseFor(q.Action, q.Topic)
	if err != nil {
		e.Steps = append(e.Steps, err.Error())
		return e.refused(err)
	}
	if device.Status != registry.Enabled {
		e.Steps = append(e.Steps, "not enabled: device "+string(device.ID))
		return e.refused(&authn.RefusedError{Reason: registry.ReasonDeviceDisabled})
	}
	_, steps, err := g.Channels.Explain(ctx, device, f.Domain, f.Channel, q.Action)
	e.Steps = append(e.Steps, steps...)
	if err != nil {
		return e.refused(err)
	}
	e.Allowed = true
	return e, nil
}

// refused returns e with the reason of err, or err itself when no decision was
// reached.
func (e Explanation) refused(err error) (Explanation, error) {
	switch KindOf(err) {
	case Unavailable, Internal, Limited:
		return Explanation{}, err
	}
	e.Reason = ReasonOf(err)
	return e, nil
}

func parseFor(action registry.Rights, topic string) (messaging.Filter, error) {
	if action == registry.Subscribe {
		return messaging.ParseFilter(topic)
	}
	t, err := messaging.ParseTopic(topic)
	return messaging.Filter{Domain: t.Domain, Channel: t.Channel, Subtopic: t.Subtopic}, err
}

// A SessionInfo tells who is connected, by which door, since when.
type SessionInfo struct {
	ID          string            `json:"id"`
	Device      registry.DeviceID `json:"device"`
	Via         string            `json:"via"`    // "mqtt", "http", "ws"
	Remote      string            `json:"remote"` // address
	Certificate bool              `json:"certificate"`
	Opened      time.Time         `json:"opened"`
}

// Sessions returns the open sessions of a device on this node.
func (g *Gateway) Sessions(id registry.DeviceID) []SessionInfo {
	open := g.sessions.ofDevice(id)
	infos := make([]SessionInfo, len(open))
	for i, s := range open {
		infos[i] = SessionInfo{ID: s.id, Device: s.device.ID, Via: s.via, Remote: s.remote.String(), Certificate: len(s.chain) > 0, Opened: s.opened}
	}
	return infos
}

// EndSession drops one session of a device on this node, and reports whether it
// was there. The device may come back: this is no revocation.
func (g *Gateway) EndSession(device registry.DeviceID, id string) bool {
	for _, s := range g.sessions.ofDevice(device) {
		if s.id == id {
			s.drop(&RevokedError{Reason: registry.ReasonSessionEnded})
			return true
		}
	}
	return false
}
