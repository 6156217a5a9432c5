package adaptertest

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/postern-io/postern/adapters"
)

// A Door is a device door under test, and a client of it.
type Door interface {
	// Protocol is what the door writes into Postern-Protocol.
	Protocol() string
	// Forms tells which evidence the door's wire can carry.
	Forms() Forms
	// Serve serves the door on l until the test ends.
	Serve(t testing.TB, w *World, l net.Listener)
	// Publish connects, publishes one message that asks for an
	// acknowledgement, and returns what the door said. An error means that
	// there was no word: the connection was refused or cut.
	Publish(t testing.TB, at Wire, e Evidence, topic string, payload []byte) (adapters.Kind, error)
}

// A Wire is where a door is reached.
type Wire struct {
	Addr string
	TLS  *tls.Config // nil: plain
}

// Evidence is what a client shows, besides the certificate of its Wire.
type Evidence struct {
	DeviceID string
	Secret   string
	Query    string // a secret in the query of a URL
}

// Forms are the kinds of evidence that a door can be shown besides a device id
// with a secret and a certificate.
type Forms struct {
	SecretAlone bool
	Query       bool // a query can be sent
	QueryTaken  bool // and is evidence there, rather than a reason to refuse
}

// A Listener is a Door by which devices also hear.
type Listener interface {
	// Listen connects and subscribes to topic until the test ends. Payloads
	// come on the channel. The kind is Denied when the door refused the
	// subscription alone.
	Listen(t testing.TB, at Wire, e Evidence, topic string) (<-chan []byte, adapters.Kind, error)
}

// A Holder is a Door with lasting connections.
type Holder interface {
	// Hold connects for the stored channel's topic and keeps the connection
	// until the test ends. lost is closed when the door ended it.
	Hold(t testing.TB, at Wire, e Evidence, topic string) (lost <-chan struct{}, kind adapters.Kind, err error)
}

// A Willer is a Door that takes wills.
type Willer interface {
	// ConnectWithWill connects with a will for topic and goes away without a
	// word.
	ConnectWithWill(t testing.TB, at Wire, e Evidence, topic string) (adapters.Kind, error)
}

// An Identifier is a Door where a client names its session.
type Identifier interface {
	// HoldAs is Hold with the session's name. The client need not subscribe.
	HoldAs(t testing.TB, at Wire, e Evidence, clientID string) (lost <-chan struct{}, kind adapters.Kind, err error)
}
