package mqtt

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/adapters/mqtt/wire"
)

// Why a message did not reach a subscriber.
type loss string

const (
	lostSlow     loss = "slow_reader"
	lostQueue    loss = "queue_full"
	lostTooLarge loss = "too_large"
	lostExpired  loss = "expired"
	lostShared   loss = "no_shared_member"
	lostRetained loss = "retained_full"
	lostPublish  loss = "publish_refused" // QoS 0, so nobody was told
)

var losses = []loss{lostSlow, lostQueue, lostTooLarge, lostExpired, lostShared, lostRetained, lostPublish}

// Metrics counts what happens at this door beyond what the gateway counts. A nil
// *Metrics counts nothing.
type Metrics struct {
	out       prometheus.Counter
	losses    map[loss]prometheus.Counter
	malformed *prometheus.CounterVec
	panics    prometheus.Counter
}

// NewMetrics registers the metrics of s, which sets its Metrics field.
func NewMetrics(reg prometheus.Registerer, s *Server) *Metrics {
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_mqtt_lost_total", Help: "Messages that did not reach an MQTT subscriber, by reason.",
	}, []string{"reason"})
	m := &Metrics{
		out: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_mqtt_deliveries_total", Help: "Messages handed to MQTT subscribers.",
		}),
		losses: make(map[loss]prometheus.Counter, len(losses)),
		malformed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_mqtt_refused_packets_total", Help: "MQTT packets that ended their connection, by fault.",
		}, []string{"fault"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_mqtt_panics_total", Help: "MQTT connections ended by a recovered panic.",
		}),
	}
	for _, why := range losses {
		m.losses[why] = lost.WithLabelValues(string(why))
	}
	reg.MustRegister(m.out, lost, m.malformed, m.panics,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_mqtt_connections", Help: "Open MQTT connections.",
		}, func() float64 { return float64(s.connections()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "postern_mqtt_waiting_sessions", Help: "MQTT sessions without a connection.",
		}, func() float64 {
			s.start.Do(s.init)
			_, waiting := s.sessions.count()
			return float64(waiting)
		}))
	s.Metrics = m
	return m
}

func (m *Metrics) delivered() {
	if m != nil {
		m.out.Inc()
	}
}

func (m *Metrics) lost(why loss) {
	if m != nil {
		m.losses[why].Inc()
	}
}

func (m *Metrics) refused(r *wire.Refusal) {
	if m != nil {
		m.malformed.WithLabelValues(r.Reason).Inc()
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}
