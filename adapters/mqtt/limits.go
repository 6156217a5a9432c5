package mqtt

import (
	"time"

	"github.com/postern-io/postern/adapters/mqtt/wire"
)

// Limits bound what clients may cost. A zero field takes its default.
type Limits struct {
	Connections int // open at once on this node; 0 means no limit

	ConnectTime time.Duration // TLS and WebSocket handshake and CONNECT together; 10 s
	PacketTime  time.Duration // from a packet's first byte to its last; 15 s
	WriteTime   time.Duration // a socket that takes nothing for so long is closed; 10 s
	KeepAlive   time.Duration // longest keep-alive, told as Server Keep Alive; 20 min

	PacketSize     int    // bytes of a packet from a client; 1 MiB
	ReceiveMaximum uint16 // unanswered QoS 1 and 2 messages from one client; 1,024
	TopicAliases   uint16 // from one client; 32

	Window        int // unacknowledged messages to one client; 1,024, or less if it says so
	Queue         int // messages waiting for one session; 1,000
	Pending       int // bytes waiting for one socket before QoS 0 is lost; 1 MiB
	Subscriptions int // of one session; 1,000

	SessionExpiry time.Duration // longest life of a session without connection; 24 h
	Sessions      int           // without connection, oldest end first; 100,000
	Retained      int           // messages; 100,000
	RetainedBytes int           // of their payloads together; 64 MiB
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.ConnectTime, 10*time.Second)
	orDefault(&l.PacketTime, 15*time.Second)
	orDefault(&l.WriteTime, 10*time.Second)
	orDefault(&l.KeepAlive, 20*time.Minute)
	orDefault(&l.PacketSize, 1<<20)
	orDefault(&l.ReceiveMaximum, 1024)
	orDefault(&l.TopicAliases, 32)
	orDefault(&l.Window, 1024)
	orDefault(&l.Queue, 1000)
	orDefault(&l.Pending, 1<<20)
	orDefault(&l.Subscriptions, 1000)
	orDefault(&l.SessionExpiry, 24*time.Hour)
	orDefault(&l.Sessions, 100_000)
	orDefault(&l.Retained, 100_000)
	orDefault(&l.RetainedBytes, 64<<20)
	return l
}

func orDefault[T int | uint16 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (l Limits) wire() wire.Limits {
	return wire.Limits{
		ConnectTime:  l.ConnectTime,
		PacketTime:   l.PacketTime,
		PacketSize:   l.PacketSize,
		TopicAliases: l.TopicAliases,
	}
}
