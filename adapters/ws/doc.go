// Package ws is the door by which devices and browsers publish and hear over
// one WebSocket (RFC 6455), a topic a socket. It owns the upgrade, the frames
// and the close codes. Evidence and refusals before the upgrade are read and
// written by httpd; who may do what is the Gateway's to say.
//
//	GET /ws/m/<d>/c/<c>[/<sub>] ─> Gateway.Open ─> CanPublish or CanSubscribe ─> 101
//	frame ──> reader ──> Session.Publish ──> bus
//	bus ──> hub (one subscription a topic) ──> outbox ──> writer ──> frame
//
// # Evidence
//
// As over HTTP, and ?authorization=<secret> or ?authorization=Client%20<secret>
// besides, because a browser cannot set headers on a WebSocket. The Origin is
// not looked at: it protects cookies from foreign pages, and this door takes
// none. A page that knows a device's secret may speak for the device.
//
// # Frames
//
// Each data frame, text or binary, is one message. What is delivered has the
// kind of the original: text for a text frame, for an MQTT payload that its
// publisher calls UTF-8, and for an HTTP body with a text or JSON content type;
// binary for everything else. A socket does not hear its own messages unless
// it asks with ?echo=1.
//
// # Acknowledgements
//
// By default a frame is published in order and nothing is said; a failure
// closes the socket. With ?ack=1 the door answers each frame, in order, once
// the message is stored:
//
//	{"ack":1,"sequence":17}
//
// ack counts the socket's data frames from 1; sequence is missing on a live
// channel, where the bus has the message but nobody stored it. So that no
// message can pass for an acknowledgement, on such a socket every text frame
// is one, and all messages are delivered in binary frames. A frame that fails
// is not acknowledged: the socket closes with the reason, and what was not
// acknowledged may or may not be stored.
//
// # Close codes
//
//	1001 the server goes away         1008 the topic or frame breaks a rule
//	1007 a text frame is not UTF-8    1009 a frame is too large
//	1011 an error of ours             1013 try later: bus away, too slow, too much
//	4401 the credential was revoked   4403 not allowed, or no longer
package ws
