// Package messaging carries what devices say: it owns topics and filters, the
// message and its headers, the stream, and the NATS server behind them, which
// is either embedded in the process or an outside cluster.
//
// It does not know who may say what (authz decides), whose session publishes
// (adapters stamps), nor any device protocol. Ids are ids here: a route has
// been resolved before a topic reaches the bus.
//
//	Lane.Publish ─ stored ─> in.m.<d>.c.<c>… ─> stream "messages" ─ PubAck ─> done
//	             │                                     │ RePublish (+ Nats-Sequence)
//	             └ live ───> m.<d>.c.<c>… <────────────┘
//	                              │
//	                              └─> Bus.Subscribe's deliver, and any other NATS client
//
// # Stored and live
//
// A stored message is published below in. alone; the stream takes it and the
// server republishes it below m., so a subscriber sees what was stored, in the
// order in which it was stored, and nothing else. A live message goes to m.
// at once. Either way the payload is the device's own bytes, and who and how
// stand in headers; header.go lists them.
//
// # Two clients of NATS
//
// nats.go connects, finds servers, manages the stream and carries notices. The
// messages themselves go over links (link.go), which know the few operations
// of the client protocol that publishing and subscribing need: at the rates
// that a node carries, decoding headers into maps and passing every message
// between goroutines costs more than everything else together.
//
// # Topic and subject
//
// A level of a topic may hold characters that NATS reserves, so those are
// percent-encoded (topic.go). The mapping is one to one: a.b and a/b stay two
// topics on the bus, and each subject that comes back names one topic.
//
// # When the stream is full
//
// The age limit is retention: the operator said how long a message is worth
// keeping. The size limit is not; it guards the disk. A stream that dropped
// its oldest messages at that limit would lose messages that it acknowledged
// and that nobody declared old, so the stream discards the new ones: Publish
// answers ErrUnavailable, the doors say "try later", and the log and
// /health/ready say why. The price is that a full stream stops stored
// channels until the operator acts; live channels go on.
package messaging
