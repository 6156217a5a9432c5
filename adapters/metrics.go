package adapters

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/registry"
)

// latencySample is how many stored messages go by for each one that is timed:
// enough for a distribution, cheap enough for the hot path.
const latencySample = 16

// Metrics counts what happens at the doors. A nil *Metrics counts nothing.
type Metrics struct {
	connects *prometheus.CounterVec
	refusals *prometheus.CounterVec
	revoked  *prometheus.CounterVec
	doors    map[string]*doorMetrics
}

// doorMetrics is the part of Metrics that one door's hot path touches.
type doorMetrics struct {
	messages prometheus.Counter
	stored   prometheus.Counter
	latency  prometheus.Observer
	parent   *Metrics
	via      string
	sample   atomic.Uint64
}

// doors are the values of a Credential's Via.
var doors = []string{"mqtt", "http", "ws"}

// NewMetrics registers the gateway's metrics, and a gauge of g's open sessions.
func NewMetrics(reg prometheus.Registerer, g *Gateway) *Metrics {
	m := &Metrics{
		connects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_connects_total", Help: "Devices let in, by door.",
		}, []string{"door"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_refusals_total", Help: "Connects, publishes and subscribes refused, by door and reason.",
		}, []string{"door", "reason"}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_revoked_sessions_total", Help: "Open sessions ended because the ground for them went away, by door and reason.",
		}, []string{"door", "reason"}),
		doors: make(map[string]*doorMetrics),
	}
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_messages_total", Help: "Messages authorized and handed to the bus, by door.",
	}, []string{"door"})
	stored := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_messages_stored_total", Help: "Messages acknowledged by the stream, by door.",
	}, []string{"door"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "postern_ack_seconds", Help: "Time from a message's arrival to the stream's acknowledgement (one in 16), by door.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
	}, []string{"door"})
	for _, via := range doors {
		m.connects.WithLabelValues(via)
		m.doors[via] = &doorMetrics{
			messages: messages.WithLabelValues(via), stored: stored.WithLabelValues(via),
			latency: latency.WithLabelValues(via), parent: m, via: via,
		}
	}
	reg.MustRegister(m.connects, m.refusals, m.revoked, messages, stored, latency,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_sessions", Help: "Open device sessions on this node.",
		}, func() float64 { return float64(g.sessions.count()) }))
	return m
}

func (m *Metrics) door(via string) *doorMetrics {
	if m == nil {
		return nil
	}
	return m.doors[via]
}

func (m *Metrics) connect(via string, err error) {
	switch {
	case m == nil:
	case err == nil:
		m.connects.WithLabelValues(via).Inc()
	default:
		m.refusals.WithLabelValues(via, string(ReasonOf(err))).Inc()
	}
}

// Refused counts a refusal that a door found by itself, such as a malformed
// packet. A nil Metrics or a nil error counts nothing.
func (m *Metrics) Refused(via string, err error) { m.door(via).refused(err) }

// RefusedFor is Refused for who knows the reason and has no error.
func (m *Metrics) RefusedFor(via string, why registry.Reason) {
	if m != nil {
		m.refusals.WithLabelValues(via, string(why)).Inc()
	}
}

func (d *doorMetrics) refused(err error) {
	if d != nil && err != nil {
		d.parent.refusals.WithLabelValues(d.via, string(ReasonOf(err))).Inc()
	}
}

func (d *doorMetrics) revoked(err error) {
	if d != nil {
		d.parent.revoked.WithLabelValues(d.via, string(ReasonOf(err))).Inc()
	}
}

// message counts one on its way to the bus, and reports whether its
// acknowledgement is to be timed.
func (d *doorMetrics) message(store bool) (timed bool) {
	if d == nil {
		return false
	}
	d.messages.Inc()
	return store && d.sample.Add(1)%latencySample == 1
}

// acknowledged counts a message that the stream has.
func (d *doorMetrics) acknowledged(timed bool, took time.Duration) {
	if d == nil {
		return
	}
	d.stored.Inc()
	if timed {
		d.latency.Observe(took.Seconds())
	}
}

// counting counts a message that came at a time, and what becomes of it.
func (s *Session) counting(at time.Time, store bool, done func(uint64, error)) func(uint64, error) {
	atDoor, here := s.counted.message(store), s.traffic.message(at, store)
	if !store {
		return done
	}
	return func(seq uint64, err error) {
		if err != nil {
			s.counted.refused(err)
			s.traffic.refused(ReasonOf(err), s.gateway.Now())
			done(seq, err)
			return
		}
		var took time.Duration
		if atDoor || here {
			took = s.gateway.Now().Sub(at)
		}
		s.counted.acknowledged(atDoor, took)
		s.traffic.stored.Add(1)
		if here {
			s.traffic.acknowledged(took)
		}
		done(seq, err)
	}
}
