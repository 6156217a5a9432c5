// Package adapters is where every door meets the house. A door translates
// between its wire and the Gateway; it does not decide.
//
//	mqtt httpd ws ──Credential──▶ Gateway.Open ──▶ authn.Devices
//	                                  │ Session
//	socket ──topic, payload──▶ Session.Publish ──▶ messaging.ParseTopic
//	                                             ──▶ authz.Channels
//	                                             ──▶ messaging.Bus ──▶ stream
//
//	registry.Change ──▶ Gateway.Changed ──▶ caches forget ──▶ sessions rechecked
//	                ──▶ Persons.Changed ──▶ who listens is told nothing until asked again
//
//	person's request ──▶ Persons.Speak, Listen ──▶ authz.People ──▶ messaging.Bus
//
// KindOf turns every error of the rooms below into one of a few kinds; each
// wire has one table from kind to its own words.
package adapters
