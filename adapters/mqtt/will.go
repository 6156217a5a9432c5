package mqtt

import (
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/messaging"
)

// A will is what the client wants said when it is gone. It was authorized when
// the client came, and is authorized again when it is published.
type will struct {
	topic   string
	message messaging.Message
	delay   time.Duration
}

// publish hands the will to the bus. What it refuses is counted by the gateway;
// there is nobody else to tell.
func (w *will) publish(srv *Server, gateway *adapters.Session) {
	m := w.message
	gateway.Publish(w.topic, &m, func(_ uint64, err error) {
		if err == nil {
			srv.retained.published(&m)
		}
	})
}

func (p *pendingWill) publish(srv *Server) { p.will.publish(srv, p.gateway) }
