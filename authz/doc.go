// Package authz answers one question: may you?
//
// Channels decides what a device may do on a topic; People decides what a
// person may do in the API, from one literal table of roles and actions.
//
//	topic ──▶ domain, channel (by id or route) ──▶ connection of the device
//	               enabled?                           has the right?
//
// Who is asking was settled by authn; carrying the message is messaging's work.
// What a change notice names is forgotten at once, on every node.
package authz
