// Package mqtt is the door for MQTT 3.1.1 and 5.0, over TCP, TLS and WebSocket.
//
// It owns the wire: sessions by client identifier, packet identifiers,
// acknowledgements, retained messages, wills, and who hears what. It decides
// nothing about devices and channels; it asks adapters.Gateway. The strict check
// of every packet is in package wire beneath it, the codec and the life cycle of
// a connection are the engine's (mochi-mqtt). It is driven in hook.go; beyond
// that, connect.go and subscribe.go read its decoded packets.
//
//	socket ─> outbox ─> wire.Conn ─┬─ CONNECT SUBSCRIBE UNSUBSCRIBE PINGREQ DISCONNECT ─> engine ─> hook
//	                               └─ PUBLISH PUBACK PUBREC PUBREL PUBCOMP ─> conn.Take
//	                                        │
//	     PUBACK <─ acks (in order) <─ done ─┴─ Session.Publish ─> bus
//	                                                               │
//	socket <─ outbox <─ session (window, queue) <─ hub (index) <───┘
//
// # What the engine does, and what it does not
//
// The engine's hot path copies each payload several times, and its delivery
// looks up every subscriber of every message. So PUBLISH and the packets that
// acknowledge are taken before the engine sees them. Its sessions, retained
// messages, wills and topic tree stay empty: what they would have to remember is
// ours, because a message is acknowledged when the stream has it and delivered
// when the bus brings it, neither of which the engine can wait for. The engine
// knows each connection by an identifier of its own, so that it never finds a
// session to take over; two devices with one client identifier are two sessions.
//
// # Order and loss
//
// Acknowledgements leave in the order of the publishes. A message comes to a
// session once, however many of its filters match. A reader that is slow loses
// QoS 0 messages, then its queue of the others fills and loses the newest; what
// is lost is counted. When its socket takes nothing for Limits.WriteTime it is
// disconnected. Retained messages and sessions live in the memory of this node.
package mqtt
