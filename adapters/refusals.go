package adapters

import (
	order "container/list"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	// maxRefusals bounds what is remembered of one device, maxRefusedDevices
	// and maxAllRefusals what is remembered of all: some 20 MB at the worst.
	maxRefusals       = 20
	maxRefusedDevices = 10_000
	maxAllRefusals    = 50_000
	// maxListedRefusals bounds a list of those of all devices of a domain.
	maxListedRefusals = 100
	// maxRefusedTopic bounds the topic that is kept, in bytes.
	maxRefusedTopic = 256
)

// A Refusal is what a device was told no to, as often as it was the same.
type Refusal struct {
	Device registry.DeviceID `json:"device"`
	Via    string            `json:"via"`    // "mqtt", "http", "ws"
	Action string            `json:"action"` // "connect", "publish", "subscribe"
	Reason registry.Reason   `json:"reason"`
	Remote string            `json:"remote"` // address
	// Topic is as the device named it, which may be anything but is text; a
	// long one is cut, and ends in "…". Connects have none.
	Topic string    `json:"topic,omitempty"`
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

func (r Refusal) same(o Refusal) bool {
	return r.Device == o.Device && r.Via == o.Via && r.Action == o.Action && r.Reason == o.Reason && r.Remote == o.Remote && r.Topic == o.Topic
}

// fold puts a refusal among others: with the one that it repeats, if any.
func fold(all []Refusal, r Refusal) []Refusal {
	for i := range all {
		if !all[i].same(r) {
			continue
		}
		all[i].Count += r.Count
		if r.First.Before(all[i].First) {
			all[i].First = r.First
		}
		if r.Last.After(all[i].Last) {
			all[i].Last = r.Last
		}
		return all
	}
	return append(all, r)
}

// A RefusalQuery asks for the latest refusals of one device or, without one, of
// all devices of a domain: 20 or 100 of them. A reason leaves out all others.
type RefusalQuery struct {
	Domain registry.DomainID
	Device registry.DeviceID
	Reason registry.Reason
}

// latest sorts refusals and takes as many as are asked for.
func (q RefusalQuery) latest(all []Refusal) []Refusal {
	slices.SortFunc(all, func(a, b Refusal) int { return b.Last.Compare(a.Last) })
	if q.Device != "" {
		return all[:min(len(all), maxRefusals)]
	}
	return all[:min(len(all), maxListedRefusals)]
}

// refusals remembers the last ones of each device on this node. The device that
// was refused longest ago is forgotten first.
type refusals struct {
	mu     sync.Mutex
	of     map[registry.DeviceID]*order.Element // of *refusedDevice
	recent order.List                           // the last refused in front
	total  int
}

type refusedDevice struct {
	id     registry.DeviceID
	domain registry.DomainID
	all    []Refusal
}

func (t *refusals) add(domain registry.DomainID, r Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.of[r.Device]
	if at == nil {
		if t.of == nil {
			t.of = map[registry.DeviceID]*order.Element{}
		}
		at = t.recent.PushFront(&refusedDevice{id: r.Device, domain: domain})
		t.of[r.Device] = at
	}
	t.recent.MoveToFront(at)
	d := at.Value.(*refusedDevice)
	t.total -= len(d.all)
	d.all = fold(d.all, r)
	if len(d.all) > maxRefusals {
		oldest := 0
		for i := range d.all {
			if d.all[i].Last.Before(d.all[oldest].Last) {
				oldest = i
			}
		}
		d.all = slices.Delete(d.all, oldest, oldest+1)
	}
	t.total += len(d.all)
	for len(t.of) > maxRefusedDevices || t.total > maxAllRefusals {
		t.drop(t.recent.Back())
	}
}

func (t *refusals) drop(at *order.Element) {
	d := t.recent.Remove(at).(*refusedDevice)
	t.total -= len(d.all)
	delete(t.of, d.id)
}

// forget is for a device that is gone.
func (t *refusals) forget(id registry.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.of[id]; at != nil {
		t.drop(at)
	}
}

func (t *refusals) list(q RefusalQuery) []Refusal {
	t.mu.Lock()
	var all []Refusal
	take := func(d *refusedDevice) {
		for _, r := range d.all {
			if q.Reason == "" || r.Reason == q.Reason {
				all = append(all, r)
			}
		}
	}
	if q.Device != "" {
		if at := t.of[q.Device]; at != nil {
			take(at.Value.(*refusedDevice))
		}
	} else {
		for at := t.recent.Front(); at != nil; at = at.Next() {
			if d := at.Value.(*refusedDevice); d.domain == q.Domain {
				take(d)
			}
		}
	}
	t.mu.Unlock()
	return q.latest(all)
}

// cutTopic makes text of bounded length of what a device named.
func cutTopic(topic string) string {
	cut := len(topic) > maxRefusedTopic
	if cut {
		topic = topic[:maxRefusedTopic]
		for i := 0; i < utf8.UTFMax && !utf8.ValidString(topic); i++ { // a rune that was cut through
			topic = topic[:len(topic)-1]
		}
	}
	topic = strings.ToValidUTF8(strings.ReplaceAll(topic, "\x00", "\uFFFD"), "\uFFFD")
	if cut {
		topic += "…"
	}
	return topic
}

// Refusals returns what devices were refused lately on this node, the latest
// first.
func (g *Gateway) Refusals(q RefusalQuery) []Refusal { return g.refusals.list(q) }

// A fullError is an ErrLimited of a device that has all the sessions it may.
type fullError struct{ device *registry.Device }

func (e *fullError) Error() string        { return ErrLimited.Error() + ": sessions of one device" }
func (e *fullError) Is(target error) bool { return target == ErrLimited }

// noteConnect counts a connect that was refused for the device that was meant,
// and for its domain. A stranger's attempt is nobody's.
func (g *Gateway) noteConnect(c authn.Credential, err error) {
	var (
		refused *authn.RefusedError
		full    *fullError
		device  registry.DeviceID
		domain  registry.DomainID
	)
	switch {
	case errors.As(err, &full):
		device, domain = full.device.ID, full.device.Domain
	case errors.As(err, &refused) && refused.Device != "":
		var known bool
		if domain, known = g.Devices.DomainOf(refused.Device); !known {
			return
		}
		device = refused.Device
	default:
		return
	}
	g.note(domain, g.traffic.of(domain, g.Now()), Refusal{Device: device, Via: c.Via, Action: "connect", Remote: c.Remote.String()}, err)
}

// note counts a refusal of a device that is known.
func (g *Gateway) note(domain registry.DomainID, in *domainTraffic, r Refusal, err error) {
	now := g.Now()
	r.Reason, r.Topic, r.Count, r.First, r.Last = ReasonOf(err), cutTopic(r.Topic), 1, now, now
	in.refused(r.Reason, now)
	g.refusals.add(domain, r)
}

// Refused counts a refusal that a door found by itself, such as a message that
// is too large, and logs it now and then. action is "publish" or "subscribe"; no
// error counts nothing.
func (s *Session) Refused(action, topic string, err error) { s.refused(action, topic, err) }
