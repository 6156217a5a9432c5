// Package adaptertest holds the stories that every device door must live
// through, and the world they happen in. A door passes by implementing Door,
// and the optional interfaces that fit it, in a test of its own:
//
//	func TestStories(t *testing.T) { adaptertest.Run(t, door{}) }
//
// The world is the real house: registry on SQLite, authn, authz, the gateway,
// a NATS server with JetStream, TLS under an authority made for the test. Only
// the clock is a toy, so that secrets can expire.
//
// Every refused attempt happens before the eyes of a NATS subscriber to m.>
// and in.>. It is followed by a message that is accepted, and that message must
// be the first to arrive: so silence is proved without waiting for it.
package adaptertest
