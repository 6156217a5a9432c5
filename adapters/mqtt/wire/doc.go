// Package wire is the strict gate between a socket and the MQTT engine.
//
// It owns the form of what a client sends: framing, lengths, flags, UTF-8,
// properties and their number, reason codes, and the order CONNECT first and
// only once, for MQTT 3.1.1 and MQTT 5.0. It owns the limits that have to hold
// before anyone is known: the time a CONNECT may take, its size, and the time a
// packet once begun may take. It leaves meaning to its neighbours: who the
// client is, whether a topic exists, and what to do with a packet is the
// business of adapters/mqtt and the engine.
//
//	socket -> Conn.Read -> frame -> Check -> Handler.Take -> taken: never seen by the engine
//	                          |                          \-> left:  the engine reads these bytes
//	                          \-> Refusal: counted, answered, closed
//
// The engine's own decoder indexes past its buffer on some packets and accepts
// much that the specification calls malformed, and no hook runs before it. So
// nothing but whole, checked packets leaves this package. The fuzz target holds
// the other half of that promise: whatever passes here, the engine's decoder
// can decode.
//
// A packet that passes is not copied and not allocated for. Packet is a view
// into the connection's read buffer, good until Take returns.
package wire
