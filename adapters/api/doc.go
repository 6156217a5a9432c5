// Package api is the management REST API under /api: users, domains, clients
// (devices), channels, connections.
//
//	request ─▶ Server (id, headers, cross-origin) ─▶ route ─▶ authn.Users: who?
//	        ─▶ authz.People: may you?  ─▶ handler ─▶ registry.Registry
//	answer ◀─ JSON, or problem.go: one table from what went wrong to a status
//
// It owns the routes (routes.go, one literal table with the action each needs),
// the JSON (openapi.yaml, from which types.gen.go is generated) and the words of
// errors. It leaves the rules of the nouns to registry, roles to authz, tokens
// and passwords to authn, and who is connected to the gateway.
//
// Only the types are generated from openapi.yaml, not the server: a table of
// routes that says in one line what a route needs reads better than sixty
// generated wrappers, and a test holds table, document and answers together.
package api

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml
