// Package registry owns the nouns of Postern and their rules: Domain, Device,
// Secret, Channel, Connection, User, Membership, Role.
//
// A domain is a tenant. Devices and channels live in a domain; a connection
// lets one device publish to and/or subscribe from one channel. Users reach a
// domain through a platform role or a membership.
//
//	adapters/api ──▶ Registry ──▶ Store        a change is checked, stored,
//	                    │                      and only then announced
//	                    └──▶ OnChange ──▶ caches, open sessions, other nodes
//
// Registry leaves to its neighbours: who is calling (authn), whether the
// caller may (authz), how rows are kept (store). It imports the standard
// library alone.
package registry
