package adapters

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-io/postern/registry"
)

const (
	// TrafficStep is the width of a point of a domain's traffic, TrafficWindow
	// how long points are remembered.
	TrafficStep   = 5 * time.Second
	TrafficWindow = 15 * time.Minute

	trafficSteps = int(TrafficWindow / TrafficStep)
	// maxTrafficDomains bounds the domains that a node counts for: about 10 KB
	// each, and 16 KB more of one that is never quiet.
	maxTrafficDomains = 2000
	// ackBuckets of latencies, each the square root of two wider than the one
	// before: from 0.1 ms to about 5 s.
	ackBuckets = 32
)

// stepOf numbers the steps since 1970, the same on every node.
func stepOf(t time.Time) int64 { return t.Unix() / int64(TrafficStep/time.Second) }

// Traffic is what happened in a domain in the last TrafficWindow, and what is so
// now. A device that is connected to two nodes is counted by both.
type Traffic struct {
	Sessions int                     `json:"sessions"`
	Devices  int                     `json:"devices"`
	Points   []TrafficPoint          `json:"points,omitempty"`  // of steps that are over, the oldest first
	Refused  map[registry.Reason]int `json:"refused,omitempty"` // in the whole window, whatever Points has
	Partial  bool                    `json:"partial,omitempty"` // some of it is not known
}

// A TrafficPoint is what happened in one step. Sessions and Devices are as they
// were at its end.
type TrafficPoint struct {
	Step     int64       `json:"step"`
	Sessions int         `json:"sessions,omitempty"`
	Devices  int         `json:"devices,omitempty"`
	Messages int         `json:"messages,omitempty"` // authorized and handed to the bus
	Stored   int         `json:"stored,omitempty"`   // acknowledged by the stream
	Refused  int         `json:"refused,omitempty"`  // connects, publishes and subscribes
	Revoked  int         `json:"revoked,omitempty"`  // sessions that the ground went away for
	Acks     map[int]int `json:"acks,omitempty"`     // latencies of some acknowledgements, by bucket
}

// At is when the step began.
func (p TrafficPoint) At() time.Time {
	return time.Unix(p.Step*int64(TrafficStep/time.Second), 0).UTC()
}

// Ack returns a quantile of the latencies, such as 0.99; false when no message
// was acknowledged in the step.
func (p TrafficPoint) Ack(quantile float64) (time.Duration, bool) {
	total := 0
	for i := range ackBuckets {
		total += p.Acks[i]
	}
	if total == 0 {
		return 0, false
	}
	rank, below := quantile*float64(total), 0.0
	for i := range ackBuckets {
		in := float64(p.Acks[i])
		if in > 0 && below+in >= rank {
			from, to := ackBound(i-1), ackBound(i)
			return from + time.Duration(float64(to-from)*(rank-below)/in), true
		}
		below += in
	}
	return ackBound(ackBuckets - 1), true
}

// ackBound is the upper end of a bucket; the last one takes all that is longer.
func ackBound(bucket int) time.Duration {
	if bucket < 0 {
		return 0
	}
	return time.Duration(float64(100*time.Microsecond) * math.Pow(2, float64(bucket)/2))
}

func ackBucket(took time.Duration) int {
	if took <= 100*time.Microsecond {
		return 0
	}
	return min(ackBuckets-1, int(math.Ceil(2*math.Log2(float64(took)/float64(100*time.Microsecond)))))
}

// merge adds what another node counted.
func (t *Traffic) merge(o Traffic) {
	t.Sessions += o.Sessions
	t.Devices += o.Devices
	t.Partial = t.Partial || o.Partial
	for why, n := range o.Refused {
		if t.Refused == nil {
			t.Refused = map[registry.Reason]int{}
		}
		t.Refused[why] += n
	}
	t.Points = append(t.Points, o.Points...)
}

// fill gives t one point for each step after since, summed over nodes, and none
// besides.
func (t *Traffic) fill(since, now time.Time) {
	last := stepOf(now)
	first := max(last-int64(trafficSteps), stepOf(since)+1)
	points := make([]TrafficPoint, max(0, last-first))
	for i := range points {
		points[i].Step = first + int64(i)
	}
	for _, p := range t.Points {
		if p.Step < first || p.Step >= last {
			continue
		}
		sum := &points[p.Step-first]
		sum.Sessions += p.Sessions
		sum.Devices += p.Devices
		sum.Messages += p.Messages
		sum.Stored += p.Stored
		sum.Refused += p.Refused
		sum.Revoked += p.Revoked
		for bucket, n := range p.Acks {
			if sum.Acks == nil {
				sum.Acks = map[int]int{}
			}
			sum.Acks[bucket] += n
		}
	}
	t.Points = points
}

// traffic counts what happens on this node, domain by domain.
type traffic struct {
	mu      sync.Mutex
	domains map[registry.DomainID]*domainTraffic
	swept   int64         // the step in which idle domains were last looked for
	rest    domainTraffic // of the domains beyond the bound; nobody reads it
}

// of returns the counters of a domain, to be kept while it has a session.
func (t *traffic) of(id registry.DomainID, now time.Time) *domainTraffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.domains[id]; d != nil {
		d.roll(now)
		return d
	}
	if len(t.domains) >= maxTrafficDomains {
		t.sweep(now)
	}
	if len(t.domains) >= maxTrafficDomains {
		return &t.rest
	}
	if t.domains == nil {
		t.domains = map[registry.DomainID]*domainTraffic{}
	}
	d := &domainTraffic{}
	d.roll(now)
	t.domains[id] = d
	return d
}

// sweep forgets the domains that have nothing to show any more. It looks at all
// of them, at most once in a step.
func (t *traffic) sweep(now time.Time) {
	step := stepOf(now)
	if t.swept == step {
		return
	}
	t.swept = step
	for id, d := range t.domains {
		if d.sessions.Load() == 0 && step-d.step.Load() > int64(trafficSteps) {
			delete(t.domains, id)
		}
	}
}

// known returns the counters of a domain, nil when there are none, and whether
// there is room for more.
func (t *traffic) known(id registry.DomainID) (d *domainTraffic, room bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.domains[id], len(t.domains) < maxTrafficDomains
}

// domainTraffic counts for one domain. What is counted belongs to the step of
// the last roll; whoever counts rolls first, so a quiet domain costs nothing.
type domainTraffic struct {
	step              atomic.Int64
	messages, stored  atomic.Uint32
	revoked           atomic.Uint32
	sessions, devices atomic.Int32
	untimed           atomic.Bool // no message of this step is timed yet
	acks              [ackBuckets]atomic.Uint32

	mu   sync.Mutex
	why  map[registry.Reason]uint32 // refusals of this step; the reasons are a closed list
	ring [trafficSteps]trafficStep  // by step
}

// trafficStep is a step that is over.
type trafficStep struct {
	sessions, devices int32
	messages, stored  uint32
	revoked           uint32
	acks              *[ackBuckets]uint32
	why               map[registry.Reason]uint32
}

func (s *trafficStep) idle() bool {
	return s.sessions == 0 && s.messages == 0 && s.stored == 0 && s.revoked == 0 && s.acks == nil && len(s.why) == 0
}

// roll begins the step of now, unless it has begun.
func (d *domainTraffic) roll(now time.Time) {
	if step := stepOf(now); step > d.step.Load() {
		d.begin(step)
	}
}

func (d *domainTraffic) begin(step int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.step.Load()
	if step <= last {
		return
	}
	over := trafficStep{
		sessions: d.sessions.Load(), devices: d.devices.Load(),
		messages: d.messages.Swap(0), stored: d.stored.Swap(0), revoked: d.revoked.Swap(0),
		why: d.why,
	}
	d.why = nil
	for i := range d.acks {
		if n := d.acks[i].Swap(0); n > 0 {
			if over.acks == nil {
				over.acks = new([ackBuckets]uint32)
			}
			over.acks[i] = n
		}
	}
	d.ring[last%int64(trafficSteps)] = over
	quiet := trafficStep{sessions: over.sessions, devices: over.devices}
	for s := max(last+1, step-int64(trafficSteps)); s < step; s++ {
		d.ring[s%int64(trafficSteps)] = quiet
	}
	d.untimed.Store(true)
	d.step.Store(step)
}

// message counts one on its way to the bus, and reports whether its
// acknowledgement is to be timed: one in latencySample, and the first of a step.
func (d *domainTraffic) message(now time.Time, store bool) (timed bool) {
	d.roll(now)
	n := d.messages.Add(1)
	return store && (n%latencySample == 0 || d.untimed.Load() && d.untimed.Swap(false))
}

func (d *domainTraffic) acknowledged(took time.Duration) { d.acks[ackBucket(took)].Add(1) }

func (d *domainTraffic) refused(why registry.Reason, now time.Time) {
	d.roll(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.why == nil {
		d.why = map[registry.Reason]uint32{}
	}
	d.why[why]++
}

func (d *domainTraffic) dropped(now time.Time) {
	d.roll(now)
	d.revoked.Add(1)
}

// entered counts a session that was opened (1) or closed (-1), and its device
// when it was the only one.
func (d *domainTraffic) entered(n int32, only bool) {
	d.sessions.Add(n)
	if only {
		d.devices.Add(n)
	}
}

// since is what there is to tell. Steps in which nothing happened are left out.
func (d *domainTraffic) since(since, now time.Time) Traffic {
	d.roll(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	t := Traffic{Sessions: int(d.sessions.Load()), Devices: int(d.devices.Load()), Refused: map[registry.Reason]int{}}
	last := d.step.Load()
	for step := last - int64(trafficSteps); step < last; step++ {
		s := &d.ring[step%int64(trafficSteps)]
		p := TrafficPoint{Step: step, Sessions: int(s.sessions), Devices: int(s.devices), Messages: int(s.messages), Stored: int(s.stored), Revoked: int(s.revoked)}
		for why, n := range s.why {
			t.Refused[why] += int(n)
			p.Refused += int(n)
		}
		if step <= stepOf(since) || s.idle() {
			continue
		}
		if s.acks != nil {
			p.Acks = map[int]int{}
			for i, n := range s.acks {
				if n > 0 {
					p.Acks[i] = int(n)
				}
			}
		}
		t.Points = append(t.Points, p)
	}
	return t
}

// Traffic tells what happened in a domain on this node: the steps that began
// after since, or all that are remembered, and those without anything left out.
func (g *Gateway) Traffic(domain registry.DomainID, since time.Time) Traffic {
	d, room := g.traffic.known(domain)
	if d == nil {
		return Traffic{Partial: !room}
	}
	return d.since(since, g.Now())
}
